package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// file is a file of an archive.
type file struct {
	content    []byte
	executable bool
}

// archive returns a compressed tar archive of files in a folder named top. Files are sorted
// by name, belong to root and have the modification time at, so that the archive does not
// depend on where and when it was built.
func archive(top string, files map[string]file, at time.Time) ([]byte, error) {
	var out bytes.Buffer
	zip, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(zip)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f := files[name]
		h := &tar.Header{
			Typeflag: tar.TypeReg, Format: tar.FormatUSTAR,
			Name: top + "/" + name, Size: int64(len(f.content)), Mode: 0o644, ModTime: at.UTC().Truncate(time.Second),
		}
		if f.executable {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
	}
	err = errors.Join(w.Close(), zip.Close())
	return out.Bytes(), err
}

// checksums returns the input of "sha256sum -c" for files in a folder.
func checksums(folder string, names []string) ([]byte, error) {
	var lines bytes.Buffer
	for _, name := range slices.Sorted(slices.Values(names)) {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&lines, "%x  %s\n", sha256.Sum256(content), name)
	}
	return lines.Bytes(), nil
}
