package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/galeserver/gale/uploads"
)

// Check implements uploads.Files.
func (b *Bucket) Check(ctx context.Context, directory, filename string) error {
	key, err := b.key(directory, filename)
	if err != nil {
		return err
	}
	_, err = b.stat(ctx, key)
	switch {
	case err == nil:
		return uploads.WithReason(uploads.ErrExists, directory+"/"+filename)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

// Remove implements uploads.Files. There are no folders: a prefix without objects is not
// listed.
func (b *Bucket) Remove(ctx context.Context, directory, filename string) error {
	key, err := b.key(directory, filename)
	if err != nil {
		return fmt.Errorf("remove object: %w: %w", fs.ErrNotExist, err)
	}
	object, err := b.stat(ctx, key)
	if err != nil {
		return err
	}
	if err := b.removeObject(ctx, key); err != nil || object.UserMetadata[metaHidden] == "" {
		return err
	}
	return b.removeObject(ctx, b.markKey(object.UserMetadata[metaID], key))
}

// removeObject removes an object. Without the object that is a success.
func (b *Bucket) removeObject(ctx context.Context, key string) error {
	ctx, end := b.operation(ctx, 0)
	defer end()
	return failure(ctx, "remove object", b.client.RemoveObject(ctx, b.name, key, minio.RemoveObjectOptions{}))
}

// List implements uploads.Files.
func (b *Bucket) List(ctx context.Context, directory, after string, limit int) (entries []uploads.Entry, next string, err error) {
	prefix := b.prefix
	if directory != "" {
		prefix += directory + "/"
	}
	found, err := b.first(ctx, prefix, after, limit+1)
	if err != nil {
		return nil, "", err
	}
	if directory != "" && after == "" && len(found) == 0 {
		return nil, "", fmt.Errorf("list objects: no such folder: %w", fs.ErrNotExist)
	}
	if len(found) > limit {
		found = found[:limit]
		next = found[limit-1].Key
	}
	if found, err = b.withoutHidden(ctx, prefix, found); err != nil {
		return nil, "", err
	}
	for _, object := range found {
		e := uploads.Entry{Name: object.Key, Size: object.Size, Modified: object.LastModified}
		if e.Name, e.Folder = strings.CutSuffix(object.Key, "/"); e.Folder {
			e.Size, e.Modified = 0, time.Time{}
		}
		entries = append(entries, e)
	}
	return entries, next, nil
}

// withoutHidden returns the objects of a list that are not in quarantine. The marks were read
// before the list, too: there, a file may have been stored since then, and here, it may have
// been removed already.
func (b *Bucket) withoutHidden(ctx context.Context, prefix string, found []minio.ObjectInfo) ([]minio.ObjectInfo, error) {
	if len(found) == 0 || b.opts.Replace {
		return found, nil
	}
	hidden, err := b.marks(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(o minio.ObjectInfo) bool { return hidden[nameHash(prefix+o.Key)] }), nil
}

// first returns the first n objects and folders below a prefix whose names are greater
// than after, sorted. The prefix is removed from their keys.
//
// Each response of the service has up to MaxKeys objects and folders, all of them greater
// than those before, but the library returns the objects of a response before its folders.
// So the first n are known when n have been returned before the last MaxKeys.
func (b *Bucket) first(ctx context.Context, prefix, after string, n int) (found []minio.ObjectInfo, err error) {
	hidden, err := b.marks(ctx)
	if err != nil {
		return nil, err
	}
	ctx, end := b.operation(ctx, 0)
	defer end()
	o := minio.ListObjectsOptions{Prefix: prefix, MaxKeys: min(n, uploads.MaxList)}
	if after != "" {
		o.StartAfter = prefix + after
	}
	returned, surely := 0, 0 // surely: number of objects in found that are before the last MaxKeys
	var at []int             // what returned was for each element of found
	for object := range b.client.ListObjectsIter(ctx, b.name, o) {
		if object.Err != nil {
			return nil, failure(ctx, "list objects", object.Err)
		}
		for returned++; surely < len(at) && at[surely] < returned-o.MaxKeys; {
			surely++
		}
		if surely >= n {
			break
		}
		if hidden[nameHash(object.Key)] {
			continue
		}
		object.Key = strings.TrimPrefix(object.Key, prefix)
		// Others are of another program, or of the journal.
		if object.Key > after && (b.opts.Replace || uploads.CheckName("any", strings.TrimSuffix(object.Key, "/")) == nil) {
			found, at = append(found, object), append(at, returned)
		}
	}
	slices.SortFunc(found, func(a, b minio.ObjectInfo) int { return strings.Compare(a.Key, b.Key) })
	return found[:min(n, len(found))], nil
}
