// Package watch_test tests -watch with an application of its own: the test binary.
package watch_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// page returns the body of the application's page, on a new connection.
func page(t *testing.T, g *harness.Server) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(g.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %v", resp.StatusCode, err)
	}
	return string(body)
}

// A binary that does not start is refused, and the running one serves on. The next binary
// is tried again.
func TestBinary(t *testing.T) {
	t.Parallel()
	g, dir := site(t)
	for _, broken := range []string{"#!/bin/sh\necho broken build; exit 1\n", "\x7fELF"} {
		before := strings.Count(g.Log.String(), "reload failed, nothing is changed")
		put(t, filepath.Join(dir, "broken"), broken)
		if err := os.Chmod(filepath.Join(dir, "broken"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "broken"), filepath.Join(dir, "server")); err != nil {
			t.Fatal(err)
		}
		testutil.Eventually(t, "the binary is refused", func() bool {
			return strings.Count(g.Log.String(), "reload failed, nothing is changed") > before
		})
		if body := page(t, g); !strings.Contains(body, "<h1>first</h1>") {
			t.Errorf("after a refused binary: %s", body)
		}
	}
	g.Log.Await(t, "broken build")
	g.Log.Await(t, `msg="file changed, reloading" file=`+filepath.Join(dir, "server"))
	install(t, dir)
	g.Log.Await(t, "msg=reloaded")
	if body := page(t, g); !strings.Contains(body, "<h1>first</h1>") {
		t.Errorf("after a reload: %s", body)
	}
}

// Several saves in a row end with the last one, also those during a reload.
func TestSavesDuringReload(t *testing.T) {
	t.Parallel()
	g, dir := site(t)
	put(t, filepath.Join(dir, "templates/index.html"), content("second"))
	g.Log.Await(t, "reload: trying the new binary")
	put(t, filepath.Join(dir, "templates/index.html"), content("third")) // the old master notices it
	g.Log.Await(t, "reload: executing the new binary")
	put(t, filepath.Join(dir, "templates/index.html"), content("fourth")) // perhaps no master does
	testutil.Eventually(t, "all processes have the last template", func() bool {
		for range 8 {
			if !strings.Contains(page(t, g), "<h1>fourth</h1>") {
				return false
			}
		}
		return true
	})
}
