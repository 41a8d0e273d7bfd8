package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const bars = `{"title":"GET <&>","command":"go run ./bench/x","y":"µs","taken":"2026-01-02T03:04:05Z","machine":"2 × CPU","load":"1 2 3",
"series":[{"name":"fast","points":[{"x":0,"y":5}]},{"name":"gale","points":[{"x":0,"y":10}]}]}`

const lines = `{"title":"growth","command":"go run ./bench/y","x":"connections","y":"µs","log":true,"taken":"2026-01-02T03:04:05Z",
"series":[{"name":"gale","points":[{"x":1,"y":5},{"x":1000,"y":1234}]},{"name":"other","points":[{"x":1000,"y":7}]}],"notes":["It rained.","It snowed."]}`

// The SVG and the tables contain every name and value.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "one.json", bars)
	put(t, dir, "two.json", lines)
	if err := run(dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"one.svg": {"GET <&>", "fast", "gale", "µs", "5", "10.0"},
		"two.svg": {"growth", "gale", "other", "connections", "1000"},
	} {
		texts := textsOf(t, filepath.Join(dir, name))
		for _, w := range want {
			if !strings.Contains(texts, "|"+w+"|") {
				t.Errorf("%s has no %q: %s", name, w, texts)
			}
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"2026-01-02 03:04:05 UTC, 2 × CPU, load average at the start 1 2 3: `go run ./bench/x`",
		"| fast | 5 | 0.50 |", "| gale | 10.0 | 1.00 |", "| µs | 1 connections | 1000 connections |", "| other |  | 7 |", "| gale | 5 | 1234 |",
		"| other |  | 7 |\n\n- It rained.\n- It snowed.\n",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, text := range map[string]string{
		"none": "", "no JSON": "{", "nothing": "{}",
		"two bars":    strings.Replace(bars, `{"x":0,"y":5}`, `{"x":0,"y":5},{"x":1,"y":5}`, 1),
		"not above 0": strings.Replace(lines, `"y":7`, `"y":0`, 1),
	} {
		dir := t.TempDir()
		if name != "none" {
			put(t, dir, "x.json", text)
		}
		if err := run(dir); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// textsOf returns the texts of an SVG, separated by bars.
func textsOf(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	texts := "|"
	for d, inText := xml.NewDecoder(file), false; ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return texts
		} else if err != nil {
			t.Fatal(err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			inText = e.Name.Local == "text"
		case xml.EndElement:
			inText = false
		case xml.CharData:
			if inText {
				texts += strings.TrimSpace(string(e)) + "|"
			}
		}
	}
}
