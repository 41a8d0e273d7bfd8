package uploads

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
)

// sumAttribute is the extended attribute of a stored file for its SHA-256. The value is
// "<hexadecimal SHA-256> <size in bytes> <modification time in ns>". Size and time show
// whether the file has been changed since then.
const sumAttribute = "user.gale.sha256"

// storeSum writes the SHA-256 into an attribute of the file. The sync of the file makes it
// durable. If the file system has no extended attributes or is full, nothing is written;
// the upload succeeds, and Sum later returns false.
func (u *Upload) storeSum() {
	info, err := u.file.Stat()
	if err == nil {
		err = u.store.sys.setxattr(u.file, sumAttribute, []byte(u.sum()+fileVersion(info)))
	}
	if err != nil {
		u.store.log.Debug("SHA-256 of file not stored in an extended attribute", "error", err)
	}
}

// Sum returns the hexadecimal SHA-256 of an open file of the store. It reads an
// attribute that Publish has written, not the content. ok is false if the file has been
// changed since then, if it was not created by a Store, or if the file system has no
// extended attributes (xattr(7)).
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

// fileVersion returns the part of sumAttribute that changes with the file.
func fileVersion(info os.FileInfo) string {
	return fmt.Sprintf(" %d %d", info.Size(), info.ModTime().UnixNano())
}
