package clearml

import (
	"context"
	"fmt"
	"regexp"
)

// Project is a folder of tasks; its name is a path with slashes.
type Project struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// ProjectID gives the id of the project of that name, which is created if there
// is none.
func (c *Client) ProjectID(ctx context.Context, name string) (id string, err error) {
	var found struct {
		Projects []Project `json:"projects"`
	}
	err = c.Read(ctx, "projects.get_all", map[string]any{
		"name": "^" + regexp.QuoteMeta(name) + "$", "only_fields": []string{"id", "name"}, "search_hidden": true,
	}, &found)
	if err != nil {
		return "", err
	}
	for _, p := range found.Projects {
		if p.Name == name {
			return p.ID, nil
		}
	}
	var made struct {
		ID string `json:"id"`
	}
	if err := c.Call(ctx, "projects.create", map[string]string{"name": name, "description": ""}, &made); err != nil {
		return "", fmt.Errorf("cannot create the project %q: %w", name, err)
	}
	return made.ID, nil
}

// ProjectName gives the whole name of a project; "" if there is none of that id.
func (c *Client) ProjectName(ctx context.Context, id string) (string, error) {
	var found struct {
		Projects []Project `json:"projects"`
	}
	err := c.Read(ctx, "projects.get_all", map[string]any{
		"id": []string{id}, "only_fields": []string{"id", "name"}, "search_hidden": true,
	}, &found)
	for _, p := range found.Projects {
		if p.ID == id {
			return p.Name, err
		}
	}
	return "", err
}

// Projects reads all projects.
func (c *Client) Projects(ctx context.Context) ([]Project, error) {
	var resp struct {
		Projects []Project `json:"projects"`
	}
	err := c.Read(ctx, "projects.get_all", map[string]any{"only_fields": []string{"id", "name"}, "search_hidden": true}, &resp)
	return resp.Projects, err
}
