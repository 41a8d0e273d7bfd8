package config

import (
	"slices"
	"testing"
)

// Lists are split into their entries, and -base-path must not overlap with a route.
func TestBrowserSettings(t *testing.T) {
	t.Chdir(t.TempDir())
	c, err := Load(Serve, program, []string{"-origins", "https://a.example, https://*.b.example,", "-cors-headers", "X-A, X-B", "-base-path", "/a/gale"}, nil)
	if err != nil || !slices.Equal(c.Origins, []string{"https://a.example", "https://*.b.example"}) || !slices.Equal(c.CORSHeaders, []string{"X-A", "X-B"}) || c.BasePath != "/a/gale" {
		t.Errorf("%q, %q, %q, %v", c.Origins, c.CORSHeaders, c.BasePath, err)
	}
	for path, clashes := range map[string]bool{"/a/b": true, "/a": true, "/ab": false, "/gale/a": false, "/{name}": false, "/": false} {
		if err := c.CheckPaths([]string{"/x", path}); (err != nil) != clashes {
			t.Errorf("-base-path /a/gale beside %s: %v", path, err)
		}
	}
}
