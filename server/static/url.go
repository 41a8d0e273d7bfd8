package static

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"
)

// hashLength is the number of hexadecimal digits of a hash in a URL. They distinguish the
// versions of one file, and protect against nothing.
const hashLength = 20

// maxHashes is the number of files whose hashes are kept. More names than that come from
// requests rather than from templates.
const maxHashes = 10_000

// hashes are the hashes of files that URL has found, and the names that it has not found.
type hashes struct {
	mu sync.Mutex
	of map[string]hash
}

// hash is the hash of a version of a file.
type hash struct {
	text     string // empty: there is no such file
	modified time.Time
	size     int64
}

func (h *hashes) get(name string) (hash, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	found, ok := h.of[name]
	return found, ok
}

func (h *hashes) set(name string, version hash) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.of) >= maxHashes {
		clear(h.of)
	}
	h.of[name] = version
}

// URL returns the path of a file's URL, such as /static/css/site.css?v=HASH, like Tornado's
// static_url. HASH changes with the content of the file, so Serve lets clients cache the
// response for ever. The content is read again only after the file's modification time or
// size has changed.
//
// If Serve would not find the file, URL returns the path without HASH, and logs an error
// once per name.
func (f *Folder) URL(name string) string {
	path := (&url.URL{Path: f.base + name}).EscapedPath()
	version, err := f.version(name)
	if err != nil {
		if known, ok := f.hashes.get(name); !ok || known.text != "" {
			f.log.Error("static file not found, its URL has no hash", "name", name, "error", err)
		}
		f.hashes.set(name, hash{})
		return path
	}
	return path + "?v=" + version
}

// version returns the hash of a file's content.
func (f *Folder) version(name string) (string, error) {
	opened, err := f.open(name)
	if err != nil {
		return "", err
	}
	defer opened.Close() //nolint:errcheck // read only
	modified, size := opened.info.ModTime(), opened.info.Size()
	known, ok := f.hashes.get(name)
	if ok && known.text != "" && known.modified.Equal(modified) && known.size == size {
		return known.text, nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, opened); err != nil {
		return "", fmt.Errorf("read static file: %w", err)
	}
	text := hex.EncodeToString(sum.Sum(nil))[:hashLength]
	f.hashes.set(name, hash{text, modified, size})
	return text, nil
}
