package uploads

import (
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
)

// maxExcess is how many bytes of all files of a form, past Options.MaxFile of
// each, are read for the sake of the files after them.
const maxExcess = 64 << 20

// maxDelimiter is what surrounds the head of a part, in bytes: the line with the
// boundary, and an empty one.
const maxDelimiter = maxBoundary + 64

// Multipart stores the files of a multipart/form-data body (RFC 7578): a part's
// field name is the directory, its filename the name. Plain fields are ignored.
//
// Nothing is published before the body has been read to its true end, which
// body must give as io.EOF, and only then: a request that is cut off anywhere
// leaves nothing. After that each file stands for itself; the Response has a File
// for each in the order of the form, and those with CodeStored are there for
// good. A file that fails is read to its end all the same, for the sake of those
// behind it. Of two with one name the first wins. A part with an empty filename
// and no content is what a browser sends where no file was chosen, and is none.
// A part may carry Content-Digest or Repr-Digest, for its own content; Digests
// announced for the body as a whole are verified by a body that is Digests.Reader's.
//
// The error is for requests that failed as a whole, and nothing of them is
// kept. It wraps
//   - ErrMalformed: no form, one cut short, one of too many parts or files, a
//     part whose head is over Options.MaxHead, or a part that holds parts
//     (multipart/mixed, RFC 7578, section 4.3)
//   - ErrTooLarge: a text field, or what follows the form, over Options.MaxField;
//     or 64 MiB that are past Options.MaxFile
//   - ErrDigest: the body as a whole is not what was announced
//   - ErrBody and the body's own error
//   - pool.ErrFull before the body is read, pool.ErrClosed
//   - the cause of ctx's end
func (s *Store) Multipart(ctx context.Context, body io.Reader, boundary string) (Response, error) {
	if !validBoundary(boundary) {
		return Response{}, WithReason(ErrMalformed, "the boundary is not usable")
	}
	// So that a busy server says so at once, not after the first file's header.
	if err := s.Do(ctx, func() error { return nil }); err != nil {
		return Response{}, fmt.Errorf("begin form: %w", err)
	}
	f := &form{store: s, stream: newStream(body, s.options.MaxHead)}
	f.reader = multipart.NewReader(f.stream, boundary)
	defer f.discard()
	if err := f.read(ctx); err != nil {
		return Response{}, err
	}
	if err := f.publish(ctx); err != nil {
		return Response{}, err
	}
	return NewResponse(f.files...), nil
}

// form is a multipart body being read.
type form struct {
	store  *Store
	stream *stream
	reader *multipart.Reader
	parts  int
	excess int64 // bytes of files, past the limit of each

	files   []File
	uploads []*Upload // for each of files; nil for one that failed
}

// read reads the body to its end.
func (f *form) read(ctx context.Context) error {
	for {
		f.stream.budget = f.store.options.MaxHead + maxDelimiter
		part, err := f.reader.NextRawPart()
		f.stream.budget = unlimited
		if err == io.EOF {
			return f.readEpilogue()
		}
		if err != nil {
			return f.stream.formError(err)
		}
		if f.parts++; f.parts > f.store.options.MaxParts {
			return WithReason(ErrMalformed, fmt.Sprintf("more than %d parts", f.store.options.MaxParts))
		}
		if headerSize(part.Header) > f.store.options.MaxHead { // the reader may have buffered more than the stream's limit
			return headerTooLarge(f.store.options.MaxHead)
		}
		if err := f.part(ctx, part); err != nil {
			return err
		}
	}
}

// drain reads what follows the form (RFC 2046 calls it the epilogue): the body
// is whole only when its end was seen.
func (f *form) readEpilogue() error {
	f.stream.eof = io.EOF
	return f.skip(f.stream, "what follows the form")
}

// publish gives every file that is whole its name, all in one go: from here on
// neither the client nor ctx can stop half of them.
func (f *form) publish(ctx context.Context) error {
	var batch []*publication
	var results []*File // for each of batch
	for i, u := range f.uploads {
		if u != nil {
			batch = append(batch, &publication{upload: u, directory: f.files[i].Directory, filename: f.files[i].Filename})
			results = append(results, &f.files[i])
		}
	}
	var r *record
	err := f.store.DoWait(ctx, func() error {
		r = f.store.publishBatch(batch)
		return nil
	})
	if err != nil {
		return err
	}
	f.store.callStoredFor(ctx, r, batch)
	for i, p := range batch {
		if p.err != nil {
			*results[i] = f.store.failedFile(ctx, p.directory, p.filename, p.err)
		} else {
			*results[i] = p.file()
		}
	}
	return nil
}

// discard frees whatever was not published.
func (f *form) discard() {
	for _, u := range f.uploads {
		if u != nil {
			u.Discard()
		}
	}
}

// headSize is how many bytes the head of a part has on the wire, its white space
// aside.
func headerSize(h textproto.MIMEHeader) (n int64) {
	for name, values := range h {
		for _, value := range values {
			n += int64(len(name) + len(": ") + len(value) + len("\r\n"))
		}
	}
	return n
}
