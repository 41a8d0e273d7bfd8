package console

import (
	"regexp"
	"strings"
	"testing"
)

// The files contain nothing that the page's Content-Security-Policy forbids.
func TestFilesKeepThePolicy(t *testing.T) {
	files, err := Files()
	if err != nil {
		t.Fatal(err)
	}
	inline := regexp.MustCompile(`(?i)<script(?:[^>]*[^c])?>[^<]|<style|\sstyle=|\son[a-z]+=|javascript:|https?://[^w]`)
	markup := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function|createContextualFragment`)
	for name, f := range files {
		if strings.HasSuffix(name, ".html") {
			if found := inline.Find(f.Body); found != nil {
				t.Errorf("%s: %q", name, found)
			}
		}
		if found := markup.Find(f.Body); found != nil && strings.HasSuffix(name, ".js") {
			t.Errorf("%s turns text into markup or code: %q", name, found)
		}
		if len(f.Body) == 0 || f.ETag == "" {
			t.Errorf("%s is empty", name)
		}
	}
	// All files that the pages refer to exist.
	used := regexp.MustCompile(`(?:"\.?/console/|from "\./)([a-z_]+\.[a-z]+)"`)
	found := 0
	for name, f := range files {
		for _, m := range used.FindAllSubmatch(f.Body, -1) {
			found++
			if _, ok := files[string(m[1])]; !ok {
				t.Errorf("%s refers to %s, which does not exist", name, m[1])
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d references found", found)
	}
}
