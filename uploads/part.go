package uploads

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"strings"

	"github.com/galeserver/gale/pool"
)

// part reads one part of the form. If it returns an error, the whole form fails. An error
// that concerns only one file is not returned: it becomes the result of that file.
func (f *form) part(ctx context.Context, part *multipart.Part) error {
	d, err := parseHeader(part.Header)
	if err != nil {
		return err
	}
	if !d.file {
		if kind, _, _ := strings.Cut(part.Header.Get("Content-Type"), ";"); hasPrefixFold(strings.TrimSpace(kind), "multipart/") {
			return WithReason(ErrMalformed, fmt.Sprintf("the part %q contains other parts (%s): send each file as a part of the form (RFC 7578, section 4.3)", shorten(d.name), shorten(kind)))
		}
		return f.skip(part, fmt.Sprintf("the text field %q", shorten(d.name)))
	}
	digests, err := ParseDigests(append(part.Header.Values("Content-Digest"), part.Header.Values("Repr-Digest")...)...)
	if err != nil {
		return err
	}
	content := &content{r: digests.Reader(part)}
	if d.filename == "" {
		empty, err := content.empty()
		if err != nil {
			return f.stream.formError(err)
		}
		if empty {
			return nil // a file input without a chosen file
		}
	}
	if len(f.files) == f.store.options.MaxFiles {
		return WithReason(ErrMalformed, fmt.Sprintf("more than %d files", f.store.options.MaxFiles))
	}
	permit, err := f.store.Admit(ctx, Proposal{Directory: d.name, Filename: d.filename, Size: -1, Sender: f.sender})
	var u *Upload
	if err == nil {
		d.name, d.filename = permit.Directory, permit.Filename
		u, err = f.receive(ctx, permit, content)
	}
	f.uploads = append(f.uploads, u)
	if err == nil {
		f.files = append(f.files, File{Directory: d.name, Filename: d.filename})
		return nil
	}
	switch {
	case f.stream.caused(err), errors.Is(err, ErrBody), errors.Is(err, ErrMalformed), errors.Is(err, pool.ErrClosed), errors.Is(err, ErrUnavailable), errors.Is(err, ErrUndecided), IsOutOfFiles(err):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	f.files = append(f.files, f.store.failedFile(ctx, d.name, d.filename, err))
	return f.skipFile(content)
}

// receive writes a file, which is published later. After an error it returns no upload,
// and the rest of content is unread.
func (f *form) receive(ctx context.Context, p Permit, content *content) (*Upload, error) {
	for i, u := range f.uploads {
		if u != nil && f.files[i].Directory == p.Directory && f.files[i].Filename == p.Filename {
			return nil, existsError(p.Directory, p.Filename)
		}
	}
	var u *Upload
	err := f.store.DoWait(ctx, func() (err error) {
		if err = f.store.backend.Files.Check(ctx, p.Directory, p.Filename); err == nil {
			u, err = f.store.createUpload(ctx, rand.Text(), p.Directory, p.Filename)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	u.Apply(p)
	if _, err := u.ReadFrom(ctx, content); err != nil {
		u.Discard() // now and not after the form: the next file may need the disk space
		if f.stream.caused(err) {
			err = f.stream.formError(err)
		}
		return nil, err
	}
	return u, nil
}

// skipFile reads the rest of a file that is not kept. Of each file it reads
// Options.MaxFile bytes, and of all files of the form together maxExcess bytes more.
func (f *form) skipFile(c *content) error {
	limit := f.store.options.MaxFile
	bound := limit - c.n + maxExcess - f.excess
	n, err := io.Copy(io.Discard, io.LimitReader(c, bound+1))
	f.excess += max(0, c.n-limit)
	if n > bound {
		return tooLarge(limit)
	}
	if err != nil && (f.stream.caused(err) || !errors.Is(err, ErrDigest)) { // at the end of a part, ErrDigest replaces io.EOF
		return f.stream.formError(err)
	}
	return nil
}

// skip reads data that is not a file to its end. what is the name of the data in the error
// text.
func (f *form) skip(r io.Reader, what string) error {
	limit := f.store.options.MaxField
	n, err := io.Copy(io.Discard, io.LimitReader(r, limit+1))
	if n > limit {
		return WithReason(ErrTooLarge, fmt.Sprintf("%s has more than %d bytes", what, limit))
	}
	if err != nil {
		return f.stream.formError(err)
	}
	return nil
}

// content is the content of a part.
type content struct {
	r io.Reader
	n int64 // bytes read
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// empty reports whether there is no content. It consumes the first byte: a part that is
// not empty is refused for its empty filename anyway.
func (c *content) empty() (bool, error) {
	_, err := io.ReadFull(c, make([]byte, 1))
	if err == io.EOF {
		return true, nil
	}
	return false, err
}

// hasPrefixFold is strings.HasPrefix that ignores case.
func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
