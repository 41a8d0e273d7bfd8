package debugbundle

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"time"
)

// Part is a file of the archive.
type Part struct {
	Name string
	Text []byte
	Err  error // reason why the part is missing; nil: it is not
}

// Contents returns the first file of an archive: a list of its parts, and of those that are
// missing. head is the text before the list.
func Contents(head string, parts []Part) Part {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nfiles:\n", head)
	missing := 0
	for _, p := range parts {
		if p.Err == nil {
			fmt.Fprintf(&b, "  %s, %d bytes\n", p.Name, len(p.Text))
		} else {
			missing++
		}
	}
	fmt.Fprintf(&b, "\nmissing: %d\n", missing)
	for _, p := range parts {
		if p.Err != nil {
			fmt.Fprintf(&b, "  %s: %v\n", p.Name, p.Err)
		}
	}
	return Part{Name: "contents.txt", Text: []byte(b.String())}
}

// Write writes the parts that are not missing as a compressed tar archive. All of them are in
// a folder.
func Write(w io.Writer, folder string, now time.Time, parts []Part) error {
	compressed := gzip.NewWriter(w)
	archive := tar.NewWriter(compressed)
	for _, p := range parts {
		if p.Err != nil {
			continue
		}
		head := &tar.Header{Name: folder + "/" + p.Name, Mode: 0o600, Size: int64(len(p.Text)), ModTime: now, Format: tar.FormatPAX}
		if err := archive.WriteHeader(head); err != nil {
			return fmt.Errorf("write %s: %w", p.Name, err)
		}
		if _, err := archive.Write(p.Text); err != nil {
			return fmt.Errorf("write %s: %w", p.Name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	return compressed.Close()
}
