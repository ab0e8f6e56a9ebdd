package dockerargs

import "regexp"

var identityOptions = []option{
	{names: []string{"u", "user"}, parse: user, example: "1000:1000"},
	{names: []string{"group-add"}, parse: groupAdd, example: "video"},
	{names: []string{"platform"}, parse: platform, example: "linux/amd64"},
}

var (
	userForm     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,31})?$`)
	groupForm    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$`)
	platformForm = regexp.MustCompile(`^[a-z0-9]{2,20}(/[a-z0-9_]{2,20}(/[a-z0-9.]{1,10})?)?$`)
)

func user(value string) (Request, error) {
	if !userForm.MatchString(value) {
		return Request{}, fault{"is no user", "write USER or USER:GROUP, by name or number"}
	}
	return Request{Kind: KindUser, Settings: Settings{User: value}}, nil
}

func groupAdd(value string) (Request, error) {
	if !groupForm.MatchString(value) {
		return Request{}, fault{"is no group", "write its name or number"}
	}
	return Request{Kind: KindUser, Settings: Settings{Groups: []string{value}}}, nil
}

func platform(value string) (Request, error) {
	if !platformForm.MatchString(value) {
		return Request{}, fault{"is no platform", "write it as linux/amd64"}
	}
	return Request{Kind: KindPlatform, Platform: value}, nil
}
