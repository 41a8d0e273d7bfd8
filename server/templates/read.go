package templates

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"
)

// maxFile is the maximum size of a template in bytes. A larger file is most likely no
// template.
const maxFile = 1 << 20

// isShared reports whether a file is shared by all pages.
func isShared(name string) bool { return strings.HasPrefix(path.Base(name), "_") }

// ignored reports whether the base name of a file or folder is one that New ignores:
// a hidden file, or the backup of an editor.
func ignored(base string) bool {
	return strings.HasPrefix(base, ".") && base != "." || strings.HasSuffix(base, "~")
}

// readFiles reads all files of a folder.
func readFiles(folder fs.FS) (map[string]string, error) {
	files := map[string]string{}
	err := fs.WalkDir(folder, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ignored(entry.Name()) && entry.IsDir():
			return fs.SkipDir
		case ignored(entry.Name()) || entry.IsDir():
			return nil
		}
		files[name], err = readFile(folder, name)
		return err
	})
	return files, err
}

func readFile(folder fs.FS, name string) (string, error) {
	info, err := fs.Stat(folder, name) // before Open, which would block for a named pipe
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: not a regular file", name)
	}
	file, err := folder.Open(name)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err = errors.Join(err, file.Close()); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	switch {
	case len(text) > maxFile:
		return "", fmt.Errorf("%s: has more than %d bytes; keep files that are not templates in another folder", name, maxFile)
	case !utf8.Valid(text):
		return "", fmt.Errorf("%s: is not valid UTF-8; keep files that are not templates in another folder", name)
	}
	return string(text), nil
}
