package uploads

import (
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"strings"
)

// Limits of a form besides those in Options, in bytes.
const (
	maxHeader = 16 << 10 // of a part; up to 4 KiB more may be buffered already
	maxField  = 64 << 10 // of a plain field, which nobody here reads
	maxOther  = 1 << 20  // of all plain fields and what follows the form
	maxExcess = 64 << 20 // of all files, what is past Options.MaxFile
)

// Multipart stores the files of a multipart/form-data body (RFC 7578): a part's
// field name is the directory, its filename the name. Plain fields are ignored.
//
// Nothing is published before the body has been read to its true end, which
// body must give as io.EOF, and only then: a request that is cut off anywhere
// leaves nothing. After that each file stands for itself; the Answer has a File
// for each in the order of the form, and those with CodeStored are there for
// good. A file that fails is read to its end all the same, for the sake of those
// behind it. Of two with one name the first wins. A part with an empty filename
// and no content is what a browser sends where no file was chosen, and is none.
// A part may carry Content-Digest or Repr-Digest, for its own content; Digests
// announced for the body as a whole are verified by a body that is Digests.Reader's.
//
// The error is for requests that failed as a whole, and nothing of them is
// kept. It wraps
//   - ErrMalformed: no form, one cut short, or one of too many parts or files
//   - ErrTooLarge: plain fields over 64 KiB, or over 1 MiB together with what
//     follows the form; or 64 MiB that are past Options.MaxFile
//   - ErrDigest: the body as a whole is not what was announced
//   - ErrBody and the body's own error
//   - pool.ErrFull before the body is read, pool.ErrClosed
//   - the cause of ctx's end
func (s *Store) Multipart(ctx context.Context, body io.Reader, boundary string) (Answer, error) {
	if !validBoundary(boundary) {
		return Answer{}, Because(ErrMalformed, "the content type has no proper boundary")
	}
	// So that a busy server says so at once, not after the first file's header.
	if err := s.admit(ctx, func() error { return nil }); err != nil {
		return Answer{}, fmt.Errorf("begin form: %w", err)
	}
	f := &form{store: s, stream: newStream(body)}
	f.reader = multipart.NewReader(f.stream, boundary)
	defer f.discard()
	if err := f.read(ctx); err != nil {
		return Answer{}, err
	}
	if err := f.publish(ctx); err != nil {
		return Answer{}, err
	}
	return NewAnswer(f.files...), nil
}

// form is a multipart body being read.
type form struct {
	store  *Store
	stream *stream
	reader *multipart.Reader
	parts  int
	other  int64 // bytes that are no file's
	excess int64 // bytes of files, past the limit of each

	files   []File
	uploads []*Upload // for each of files; nil for one that failed
}

// read reads the body to its end.
func (f *form) read(ctx context.Context) error {
	for {
		f.stream.left = maxHeader
		part, err := f.reader.NextRawPart()
		f.stream.left = unlimited
		if err == io.EOF {
			return f.drain()
		}
		if err != nil {
			return f.stream.fault(err)
		}
		if f.parts++; f.parts > f.store.options.MaxParts {
			return Because(ErrMalformed, fmt.Sprintf("more than %d parts", f.store.options.MaxParts))
		}
		if err := f.part(ctx, part); err != nil {
			return err
		}
	}
}

// drain reads what follows the form (RFC 2046 calls it the epilogue): the body
// is whole only when its end was seen.
func (f *form) drain() error {
	f.stream.end = io.EOF
	return f.skip(f.stream, maxOther)
}

// publish gives every file that is whole its name, all in one go: from here on
// neither the client nor ctx can stop half of them.
func (f *form) publish(ctx context.Context) error {
	return f.store.disk(ctx, func() error {
		for i, u := range f.uploads {
			if u == nil {
				continue
			}
			file := &f.files[i]
			if err := u.publish(file.Directory, file.Filename); err != nil {
				*file = f.store.failed(ctx, file.Directory, file.Filename, err)
				continue
			}
			*file = u.stored(file.Directory, file.Filename)
		}
		return nil
	})
}

// discard frees whatever was not published.
func (f *form) discard() {
	for _, u := range f.uploads {
		if u != nil {
			u.Discard()
		}
	}
}

// validBoundary is RFC 2046, section 5.1.1.
func validBoundary(s string) bool {
	if s == "" || len(s) > 70 || s[len(s)-1] == ' ' {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("'()+_,-./:=? ", c) >= 0:
		default:
			return false
		}
	}
	return true
}
