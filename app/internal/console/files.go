package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"path"
)

//go:embed page
var embedded embed.FS

// File is a file of the console.
type File struct {
	Type string // content type
	ETag string // strong ETag with quotes (RFC 9110 section 8.8.3)
	Body []byte
}

// Names of files that handlers use.
const (
	PageFile  = "index.html"
	StyleFile = "style.css"
	LoginFile = "login.html"
	WrongFile = "login-wrong.html" // login page after a wrong token
	LateFile  = "login-late.html"  // login page after too many attempts
)

// logins are the messages on the login pages, by file.
var logins = map[string]string{
	LoginFile: "",
	WrongFile: "Wrong token.",
	LateFile:  "Too many attempts from your address. Try again in a minute.",
}

var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// Files returns all files of the console by name.
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
		if types[path.Ext(e.Name())] == "" {
			return nil, fmt.Errorf("read the console's files: %s has no content type", e.Name())
		}
		all[e.Name()] = file(e.Name(), body)
	}
	login, err := template.New(LoginFile).Parse(string(all[LoginFile].Body))
	if err != nil {
		return nil, fmt.Errorf("read the console's login: %w", err)
	}
	for name, problem := range logins {
		var page bytes.Buffer
		if err := login.Execute(&page, problem); err != nil {
			return nil, fmt.Errorf("make the console's login: %w", err)
		}
		all[name] = file(name, page.Bytes())
	}
	return all, nil
}

func file(name string, body []byte) File {
	sum := sha256.Sum256(body)
	return File{Type: types[path.Ext(name)], ETag: `"` + hex.EncodeToString(sum[:12]) + `"`, Body: body}
}
