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

// Stamp returns a text that changes if one of the files, or a file in one of the folders, is
// added, removed or written. It is made of names, sizes and modification times. Names that a
// Watcher ignores do not count.
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
			return nil // an unreadable folder is found by those who read it
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
