package filewatch

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Stamp returns a hash of the names, sizes and modification times of files and of all files in
// folders. It changes if a file is added, removed or written. Names that a Watcher ignores are
// left out.
func Stamp(paths ...string) string {
	sum := sha256.New()
	for _, root := range paths {
		stampTree(sum, root)
	}
	return hex.EncodeToString(sum.Sum(nil))[:20]
}

func stampTree(sum io.Writer, root string) {
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // the code that reads the folder reports the error
		}
		if path != root && ignored(entry.Name()) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if info, err := os.Stat(path); err == nil && !entry.IsDir() {
			fmt.Fprintf(sum, "%q %d %d\n", path, info.Size(), info.ModTime().UnixNano())
		}
		return nil
	})
}
