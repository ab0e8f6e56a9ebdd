package repo

import (
	"context"
	"errors"
	"fmt"
)

// resolve finds the commit of a source that names none in full. Branches and
// tags move, so it asks the remote each time.
func (s *Store) resolve(ctx context.Context, r *request) (string, error) {
	m, err := s.mirror(ctx, r, r.addr)
	if err != nil {
		return "", err
	}
	defer m.close()
	src := r.src
	switch {
	case src.Commit != "":
		return m.short(ctx, src.Commit)
	case src.Tag != "":
		return m.named(ctx, "tag", src.Tag, "refs/tags/")
	case src.Branch != "":
		return m.named(ctx, "branch", src.Branch, "refs/heads/")
	}
	if err := m.fetch(ctx, append(everything(), "+HEAD:refs/agentctl/HEAD")...); err != nil {
		return "", err
	}
	id, err := m.commit(ctx, "refs/agentctl/HEAD")
	if err == nil && id == "" {
		err = errors.New("its HEAD is no commit")
	}
	return id, err
}

// short completes a commit id, if need be after a fetch.
func (m *mirror) short(ctx context.Context, id string) (string, error) {
	full, err := m.commit(ctx, id)
	if err != nil || full != "" {
		return full, err
	}
	if err := m.fetch(ctx); err != nil {
		return "", err
	}
	full, err = m.commit(ctx, id)
	if err == nil && full == "" {
		err = notThere(id)
	}
	return full, err
}

func notThere(id string) error {
	return fmt.Errorf("the commit %s is not there: push it, and enqueue the task again", id)
}

// named finds the commit of a branch or tag.
func (m *mirror) named(ctx context.Context, what, name, prefix string) (string, error) {
	if err := m.fetch(ctx); err != nil {
		return "", err
	}
	for _, ref := range []string{prefix + name, prefix + trimRemote(name)} {
		id, err := m.commit(ctx, ref)
		if err != nil || id != "" {
			return id, err
		}
	}
	return "", fmt.Errorf("there is no %s %s", what, name)
}

// trimRemote makes the branch of a name that a working copy gives it.
func trimRemote(name string) string {
	for _, prefix := range []string{"refs/heads/", "refs/tags/", "remotes/origin/", "refs/remotes/origin/", "origin/"} {
		if len(name) > len(prefix) && name[:len(prefix)] == prefix {
			return name[len(prefix):]
		}
	}
	return name
}

// holding leases the mirror of addr with commit in it, under a shared lock.
func (s *Store) holding(ctx context.Context, r *request, addr address, commit string) (*mirror, error) {
	m, err := s.mirror(ctx, r, addr)
	if err != nil {
		return nil, err
	}
	if err := m.bring(ctx, commit); err != nil {
		m.close()
		return nil, err
	}
	if err := m.share(); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// bring makes sure that the mirror has a commit: as part of a branch or tag, or
// by itself where the remote gives it out.
func (m *mirror) bring(ctx context.Context, commit string) error {
	have, err := m.commit(ctx, commit)
	if err != nil || have != "" {
		return err
	}
	if m.r.src.Offline {
		return fmt.Errorf("%w; nothing is fetched", notThere(commit))
	}
	m.r.say("repository", "fetching "+m.addr.url)
	if err := m.fetch(ctx); err != nil {
		return err
	}
	if have, err = m.commit(ctx, commit); err != nil || have != "" {
		m.tidy(ctx)
		return err
	}
	// No ref has it: the tip of a pull request, or rewritten history. The ref
	// keeps it from being pruned.
	err = m.fetch(ctx, "+"+commit+":refs/agentctl/commits/"+commit)
	var failed *GitError
	if errors.As(err, &failed) && failed.Err == nil {
		return fmt.Errorf("%w (git says: %s)", notThere(commit), last(failed.Lines))
	}
	if err != nil {
		return err
	}
	if have, err = m.commit(ctx, commit); err == nil && have == "" {
		err = notThere(commit) // some object, but no commit
	}
	return err
}

func last(lines []string) string {
	if len(lines) == 0 {
		return "nothing"
	}
	return lines[len(lines)-1]
}
