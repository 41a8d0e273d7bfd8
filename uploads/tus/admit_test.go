package tus

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/galeserver/gale/uploads"
)

// deciding returns a fixture whose store decides about uploads, and the proposals so far.
func deciding(t *testing.T, dir string) (f *fixture, asked *[]uploads.Proposal) {
	t.Helper()
	asked = &[]uploads.Proposal{}
	store, err := uploads.Open(dir, uploads.Options{MaxFile: 1 << 20, Decide: func(_ context.Context, p uploads.Proposal) (uploads.Decision, error) {
		*asked = append(*asked, p)
		if p.Metadata["kind"] == "secret" {
			return uploads.Decision{}, &uploads.RefusalError{Status: 403, Reason: "no secrets"}
		}
		return uploads.Decision{Filename: "moved-" + p.Filename, MaxSize: 10}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(store, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(); _ = store.Close() })
	return &fixture{s, t, dir}, asked
}

// A decision is made when an upload is created. Its name and its limit are kept in the state of
// the upload, also for another process.
func TestDecision(t *testing.T) {
	dir := t.TempDir()
	f, asked := deciding(t, dir)
	f.want(http.StatusForbidden, "POST", "", "", "Upload-Length", "5", "Upload-Metadata", "filename YQ==,kind c2VjcmV0")
	f.want(http.StatusRequestEntityTooLarge, "POST", "", "", "Upload-Length", "11")
	id := f.create("5", "he")
	if p := (*asked)[2]; len(*asked) != 3 || p.Directory != "tus" || p.Filename != "a" || p.Size != 5 || p.Metadata["filename"] != "a" {
		t.Errorf("asked %+v", *asked)
	}
	late := strings.TrimPrefix(f.want(http.StatusCreated, "POST", "", "", "Upload-Defer-Length", "1", "Upload-Metadata", "filename Yg==").get("Location"), DefaultBase)

	g, again := deciding(t, dir)
	g.want(http.StatusNoContent, "PATCH", id, "llo", "Upload-Offset", "2")
	g.wantStored("moved-a", "hello")
	g.want(http.StatusRequestEntityTooLarge, "PATCH", late, "", "Upload-Offset", "0", "Upload-Length", "11")
	g.want(http.StatusRequestEntityTooLarge, "PATCH", late, "01234567890", "Upload-Offset", "0")
	g.want(http.StatusNoContent, "PATCH", late, "0123456789", "Upload-Offset", "0", "Upload-Length", "10")
	g.wantStored("moved-b", "0123456789")
	if len(*again) != 0 {
		t.Errorf("asked again: %+v", *again)
	}
}

// The parts of an upload have no name: the decision is made when they are joined.
func TestDecisionAboutParts(t *testing.T) {
	f, asked := deciding(t, t.TempDir())
	part := func(text string) string {
		return DefaultBase + f.create("6", text, "Upload-Concat", "partial", "Upload-Metadata", "")
	}
	urls := part("012345") + " " + part("678901")
	if len(*asked) != 0 {
		t.Errorf("asked about a part: %+v", *asked)
	}
	f.want(http.StatusRequestEntityTooLarge, "POST", "", "", "Upload-Concat", "final;"+urls, "Content-Type", "")
	if len(*asked) != 1 || (*asked)[0].Size != 12 {
		t.Errorf("asked %+v", *asked)
	}
	if left, err := filepath.Glob(filepath.Join(f.dir, "tus", "*")); err != nil || len(left) != 0 {
		t.Errorf("stored %q, %v", left, err)
	}
}
