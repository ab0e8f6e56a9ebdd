package envcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/samber/lo"

	"agentctl/envcache/internal/secret"
)

var (
	nothingFound    = regexp.MustCompile(`No matching distribution found for ([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:\[[^\]]*\])?(?:={2,3}([A-Za-z0-9._+!-]+))?[^\s(]*`)
	buildNeeds      = regexp.MustCompile(`build dependencies for (\S+) did not run`)
	otherPython     = regexp.MustCompile(`Package '(\S+)' requires a different Python: (\S+) not in '([^']+)'`)
	ignoredVersions = regexp.MustCompile(`Ignored the following versions that require a different python version: .*?([^ ;]+) Requires-Python ([^;\n]+)\s*(?:$|\n)`)
	thereAre        = regexp.MustCompile(`\(from versions: ([^)]+)\)`)
)

// diagnose tells more exactly than pip why it found nothing of a package. pip says
// the same whether the index has no such package, has none for this Python, wants
// other credentials or can't be reached.
func (j *pipJob) diagnose(ctx context.Context, failed *BuildError) string {
	text := strings.Join(failed.Lines, "\n")
	if m := otherPython.FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("%s needs Python %s, and this is %s", m[1], m[3], m[2])
	}
	m := nothingFound.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	missing := missingPackage{name: m[1], version: m[2], asked: strings.TrimPrefix(m[0], "No matching distribution found for "), python: j.site.req.Python}
	if t := thereAre.FindStringSubmatch(text); t != nil && t[1] != "none" {
		missing.versions = strings.Split(t[1], ", ")
	}
	why := j.askIndexes(ctx, missing)
	if old := ignoredVersions.FindStringSubmatch(text); old != nil && why == "" {
		why = fmt.Sprintf("%s %s needs Python %s, and this is %s", m[1], old[1], strings.TrimSpace(old[2]), missing.python.Version)
	}
	if by := buildNeeds.FindStringSubmatch(text); by != nil && why != "" {
		why = by[1] + " could not be built from its source: " + why
	}
	return why
}

// indexes are those that pip asked, as its options, in the list too, name them.
func (j *pipJob) indexes() []string {
	main, extra := cmp.Or(j.plan.settings.index, defaultIndex(j.site.req.Python)), slices.Clone(j.plan.settings.extra)
	for _, o := range j.plan.list.options {
		switch flag, value, _ := strings.Cut(o, " "); flag {
		case "--index-url":
			main = value
		case "--extra-index-url":
			extra = append(extra, value)
		case "--no-index":
			return nil
		}
	}
	return lo.Compact(append([]string{main}, extra...))
}

// askIndexes looks at the pages of a package that pip found nothing of.
func (j *pipJob) askIndexes(ctx context.Context, missing missingPackage) string {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	logins, err := j.plan.logins(ctx, j.plan.list.links...)
	if err != nil {
		return ""
	}
	indexes := j.indexes()
	var files []pageFile
	for _, base := range indexes {
		x, err := newIndex(j.plan.settings, logins.machines, secret.Host(base))
		if err != nil {
			return ""
		}
		more, err := x.page(ctx, base, normalName(missing.name))
		var status *statusError
		switch isStatus := errors.As(err, &status); {
		case isStatus && (status.code == http.StatusUnauthorized || status.code == http.StatusForbidden):
			return causeRefused
		case isStatus && status.code == http.StatusNotFound:
		case isStatus:
			return fmt.Sprintf("the package index answers %s", status.text)
		case err != nil:
			return causeUnreachable + ": " + err.Error()
		}
		files = append(files, more...)
	}
	if len(indexes) == 0 {
		return ""
	}
	return missing.from(files)
}
