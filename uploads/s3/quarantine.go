package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/galeserver/gale/uploads"
)

// quarantine is the part of the prefix for the marks of files in quarantine. A mark is an
// empty object, which exists before the file does. It is named by the id of the upload, so
// that a mark can only hide the file of its own upload, and by a hash of the file's name, for
// lists.
const quarantine = ".quarantine/"

// metaHidden is a field of the metadata of a file that was uploaded into quarantine. Others
// need no look for a mark.
const metaHidden = "Gale-Quarantine"

// markKey returns the key of the mark of a file. key is that of the file.
func (b *Bucket) markKey(id, key string) string {
	return b.prefix + quarantine + id + "." + nameHash(key)
}

func nameHash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:16])
}

// Hide implements uploads.Writer.
func (w *writer) Hide(context.Context) error {
	w.hidden = true
	return nil
}

// mark creates the mark of a file, unless its name is in use.
func (b *Bucket) mark(ctx context.Context, o newObject) error {
	if err := b.Check(ctx, o.directory, o.filename); errors.Is(err, uploads.ErrExists) {
		if object, errStat := b.stat(ctx, o.key); errStat != nil || object.UserMetadata[metaID] != o.id {
			return err
		}
	} else if err != nil {
		return err
	}
	ctx, end := b.operation(ctx, 0)
	defer end()
	err := retryConflict(ctx, func() error {
		_, err := b.client.PutObject(ctx, b.name, b.markKey(o.id, o.key), strings.NewReader(""), 0, "", sumHex(""), verified())
		return err
	})
	return failure(ctx, "create mark of quarantine", err)
}

// unmark removes the mark of a file that has not got its name.
func (b *Bucket) unmark(ctx context.Context, o newObject) {
	if err := b.removeObject(ctx, b.markKey(o.id, o.key)); err != nil {
		b.log.WarnContext(ctx, "mark of a file that is not stored not removed", "key", b.markKey(o.id, o.key), "error", err)
	}
}

// isHidden reports whether an object is in quarantine.
func (b *Bucket) isHidden(ctx context.Context, key string, object minio.ObjectInfo) (bool, error) {
	if object.UserMetadata[metaHidden] == "" {
		return false, nil
	}
	_, err := b.stat(ctx, b.markKey(object.UserMetadata[metaID], key))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// marks returns the hashes of the names of all files in quarantine.
func (b *Bucket) marks(ctx context.Context) (map[string]bool, error) {
	ctx, end := b.operation(ctx, 0)
	defer end()
	all := map[string]bool{}
	for object := range b.client.ListObjectsIter(ctx, b.name, minio.ListObjectsOptions{Prefix: b.prefix + quarantine, Recursive: true}) {
		if object.Err != nil {
			return nil, failure(ctx, "list files in quarantine", object.Err)
		}
		if at := strings.LastIndexByte(object.Key, '.'); at >= 0 {
			all[object.Key[at+1:]] = true
		}
	}
	return all, nil
}

// OpenHidden implements uploads.Quarantine.
func (b *Bucket) OpenHidden(ctx context.Context, directory, filename string) (uploads.Content, error) {
	return b.open(ctx, directory, filename, true)
}

// Release implements uploads.Quarantine.
func (b *Bucket) Release(ctx context.Context, p uploads.Pending) error {
	key, err := b.ofRecord(ctx, p)
	if err != nil {
		return err
	}
	return b.removeObject(ctx, b.markKey(p.ID, key))
}

// Reject implements uploads.Quarantine.
func (b *Bucket) Reject(ctx context.Context, p uploads.Pending) error {
	key, err := b.ofRecord(ctx, p)
	if err != nil {
		return err
	}
	if err := b.removeObject(ctx, key); err != nil {
		return err
	}
	return b.removeObject(ctx, b.markKey(p.ID, key))
}

// ofRecord returns the key of the object of a record. If it has been removed or replaced, the
// error wraps fs.ErrNotExist.
func (b *Bucket) ofRecord(ctx context.Context, p uploads.Pending) (key string, err error) {
	there, err := b.stillStored(ctx, p)
	if err == nil && !there {
		err = fmt.Errorf("find object of record: %w", fs.ErrNotExist)
	}
	if err != nil {
		return "", err
	}
	return b.key(p.Directory, p.Filename)
}
