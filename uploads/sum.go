package uploads

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
)

// sumAttribute is the extended attribute that holds a stored file's SHA-256, with
// what the file looked like then: "<hexadecimal> <size> <modified, ns>". Without
// that a file that somebody has edited by hand would keep the old one's.
const sumAttribute = "user.gale.sha256"

// noteSum writes the sum down with the file, to be synced and named together
// with it. A file system without such attributes, or one that is full, is no
// reason to fail: Sum does not know it then.
func (u *Upload) storeSum() {
	info, err := u.file.Stat()
	if err == nil {
		err = u.store.sys.setxattr(u.file, sumAttribute, []byte(u.sum()+fileVersion(info)))
	}
	if err != nil {
		u.store.log.Debug("sum of a file not noted", "error", err)
	}
}

// Sum returns the SHA-256 of an open file of the store, hexadecimal, as it was
// noted when the file was stored. It reads no content: ok is false for a file
// that has been changed since or that the store has not made, and where the file
// system has no extended attributes (xattr(7)).
func (s *Store) Sum(f *os.File) (sum string, ok bool) {
	info, err := f.Stat()
	if err != nil {
		return "", false
	}
	value := make([]byte, 128)
	n, err := s.sys.getxattr(f, sumAttribute, value)
	if err != nil {
		return "", false
	}
	sum, ok = strings.CutSuffix(string(value[:n]), fileVersion(info))
	if raw, err := hex.DecodeString(sum); !ok || err != nil || len(raw) != 32 {
		return "", false
	}
	return sum, true
}

func fileVersion(info os.FileInfo) string {
	return fmt.Sprintf(" %d %d", info.Size(), info.ModTime().UnixNano())
}
