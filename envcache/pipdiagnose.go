package envcache

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	"agentctl/envcache/internal/secret"
)

var nothingFound = regexp.MustCompile(`No matching distribution found for ([A-Za-z0-9._-]*[A-Za-z0-9])|ecause ([a-z0-9-]+) was not found in the`)

// diagnose asks the indexes why pip or uv found nothing of a package: they say the
// same whether the index has no such package, wants other credentials or can't
// be reached.
func diagnose(ctx context.Context, failed *BuildError, p *pipPlan) string {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	logins, err := p.logins(ctx, p.list.links...)
	if err != nil {
		return ""
	}
	m := nothingFound.FindStringSubmatch(strings.Join(failed.Lines, "\n"))
	for _, base := range append([]string{p.settings.index}, p.settings.extra...) {
		if m == nil || base == "" {
			continue
		}
		x, err := newIndex(p.settings, logins.machines, secret.Host(base))
		if err != nil {
			continue
		}
		var status *statusError
		_, _, err = x.get(ctx, trimSlash(base)+"/"+normalName(m[1]+m[2])+"/", mostPage)
		switch isStatus := errors.As(err, &status); {
		case isStatus && (status.code == http.StatusUnauthorized || status.code == http.StatusForbidden):
			return causeRefused
		case err != nil && !isStatus:
			return causeUnreachable + ": " + err.Error()
		}
	}
	return ""
}
