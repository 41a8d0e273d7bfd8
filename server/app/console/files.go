package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
)

//go:embed page
var embedded embed.FS

// File is one of the files that the page is made of.
type File struct {
	Type string // the content type
	ETag string // a strong one (RFC 9110 §8.8.3), quotes included
	Body []byte
}

// The files that have addresses of their own.
const (
	PageFile  = "index.html"
	LoginFile = "login.html"
	StyleFile = "style.css"
)

var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// Files returns all files of the page by name.
func Files() (map[string]File, error) {
	entries, err := fs.ReadDir(embedded, "page")
	if err != nil {
		return nil, fmt.Errorf("read the console's files: %w", err)
	}
	all := make(map[string]File, len(entries))
	for _, e := range entries {
		body, err := embedded.ReadFile("page/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("read the console's files: %w", err)
		}
		kind, ok := types[path.Ext(e.Name())]
		if !ok {
			return nil, fmt.Errorf("read the console's files: %s has no content type", e.Name())
		}
		sum := sha256.Sum256(body)
		all[e.Name()] = File{Type: kind, ETag: `"` + hex.EncodeToString(sum[:12]) + `"`, Body: body}
	}
	return all, nil
}
