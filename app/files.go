package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/jobs/artifacts"
	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/s3"
	"github.com/galeserver/gale/uploads/tus"
)

// artifactPrefix is the part of the prefix of -files for artifacts. uploads.CheckName accepts no
// name that begins with a dot, so no uploaded file can be there.
const artifactPrefix = ".artifacts"

// openFiles opens the stores of uploaded files and of artifacts: the object storage of -files,
// if it is set, or else folders. The store of uploaded files has the options o.
func (s *state) openFiles(ctx context.Context, c config.Config, o uploads.Options) (err error) {
	if c.Files == "" {
		folder, err := artifacts.Open(filepath.Join(c.Data, "artifacts"))
		if err != nil {
			return err
		}
		s.artifacts = folder
		s.uploads, err = uploads.Open(c.UploadDir, o)
		return err
	}
	target, err := s3.Parse(c.Files)
	if err != nil {
		return fmt.Errorf("-files: %w", err)
	}
	temp, err := filepath.Abs(filepath.Join(c.Data, "parts"))
	if err == nil {
		err = os.MkdirAll(temp, 0o700)
	}
	if err != nil {
		return fmt.Errorf("create folder for parts of files: %w", err)
	}
	meter, _ := o.Meter.(s3.Meter)
	options := s3.Options{Temp: temp, Meter: meter, Logger: o.Logger}
	if s.bucket, err = s3.Open(target, options); err != nil {
		return err
	}
	target.Prefix, options.Replace = path.Join(target.Prefix, artifactPrefix), true
	files, err := s3.Open(target, options)
	if err != nil {
		return err
	}
	s.artifacts = artifacts.NewBucket(files.Backend())
	o.Pool = nil // it is for the disk, not for the network
	s.uploads = uploads.New(s.bucket.Backend(), o)
	return s.bucket.Probe(ctx)
}

// resumable returns the place of unfinished resumable uploads: nil is the folder of the store.
func (s *state) resumable(rdb redis.UniversalClient) tus.Place {
	if s.bucket == nil {
		return nil
	}
	return s.bucket.Resumable(s.uploads, rdb)
}

// runFiles runs the background work of the stores until ctx ends.
func (s *state) runFiles(ctx context.Context) error {
	if s.bucket == nil {
		return s.uploads.Run(ctx)
	}
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return s.uploads.Run(ctx) })
	all.Go(func() error { return s.bucket.Run(ctx) })
	return all.Wait()
}

// storedFiles gives command tasks the paths of uploaded files.
type storedFiles struct {
	store *uploads.Store
	dir   string // folder of the store; empty if it is object storage
}

// Path returns the absolute path of a file. It opens the file first, because only the
// file store can tell which names are valid. A file in object storage is copied to temp.
func (s storedFiles) Path(ctx context.Context, directory, filename, temp string) (path string, err error) {
	f, err := s.store.Open(directory, filename)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if s.dir == "" {
		return copyTo(ctx, filepath.Join(temp, "file"), filename, f)
	}
	dir, err := filepath.Abs(s.dir)
	if err != nil {
		return "", fmt.Errorf("find file: %w", err)
	}
	return filepath.Join(dir, filepath.FromSlash(directory), filename), nil
}

// copyTo copies content into a new folder.
func copyTo(ctx context.Context, folder, filename string, content io.Reader) (path string, err error) {
	if err := os.Mkdir(folder, 0o700); err != nil {
		return "", fmt.Errorf("copy file: %w", err)
	}
	path = filepath.Join(folder, filename)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("copy file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, contextReader{ctx, content}); err != nil {
		return "", fmt.Errorf("copy file: %w", err)
	}
	return path, nil
}

// contextReader is a reader that fails after the end of a context.
type contextReader struct {
	ctx context.Context //nolint:containedctx // lives as long as the call that makes it
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
