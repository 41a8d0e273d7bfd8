package uploads

import (
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// sumAttribute is the extended attribute of a stored file for its SHA-256. The value is
// "<hexadecimal SHA-256> <size in bytes> <modification time in ns>". Size and time show
// whether the file has been changed since then.
const sumAttribute = "user.gale.sha256"

// storeSum writes the SHA-256 into an attribute of the file. The sync of the file makes it
// durable. If the file system has no extended attributes (xattr(7)) or is full, nothing is
// written; the upload succeeds, and Info.SHA256 is later empty.
func (f *diskFile) storeSum(sum string) error {
	info, err := f.file.Stat()
	if err != nil {
		return fmt.Errorf("stat file: %w", err)
	}
	f.modified = info.ModTime()
	if err := f.disk.sys.setxattr(f.file, sumAttribute, []byte(sum+fileVersion(info))); err != nil {
		f.disk.log.Debug("SHA-256 of file not stored in an extended attribute", "error", err)
	}
	return nil
}

// storedSum returns the hexadecimal SHA-256 of an open file. It reads an attribute that
// Finish has written, not the content. The sum is empty if the file has been changed since
// then, if it was not created by a Store, or if the file system has no extended attributes.
func (d *disk) storedSum(f *os.File, info fs.FileInfo) string {
	value := make([]byte, 128)
	n, err := d.sys.getxattr(f, sumAttribute, value)
	if err != nil {
		return ""
	}
	sum, ok := strings.CutSuffix(string(value[:n]), fileVersion(info))
	if raw, err := hex.DecodeString(sum); !ok || err != nil || len(raw) != 32 {
		return ""
	}
	return sum
}

// fileVersion returns the part of sumAttribute that changes with the file.
func fileVersion(info fs.FileInfo) string {
	return fmt.Sprintf(" %d %d", info.Size(), info.ModTime().UnixNano())
}
