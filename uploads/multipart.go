package uploads

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
)

// maxExcess is the limit of bytes over Options.MaxFile, of all files of a form together.
// Up to this limit they are read and discarded, so that the files after them can be stored.
const maxExcess = 64 << 20

// maxDelimiter is the size limit, in bytes, of the line with the boundary before the header
// of a part and of the empty line after the header.
const maxDelimiter = maxBoundary + 64

// Multipart stores the files of a multipart/form-data body (RFC 7578). The field name of
// a part is the directory, its filename the filename. Text fields are ignored.
//
// No file is published before the body has been read to its end, so an interrupted request
// leaves no file. body must return io.EOF only at the end of a complete body.
// After that, each file succeeds or fails by itself. The Response has one File for each,
// in the order of the form; files with CodeStored are durable. The content of a file
// that fails is read and discarded, so that the files after it can be stored. If two
// files of a form have the same name, the first one is stored. A part with an empty
// filename and no content is skipped: browsers send it for a file input without a file.
//
// A part may have Content-Digest or Repr-Digest for its content. To verify the digests
// of the whole body, pass the reader that Digests.Reader returns.
//
// An error means that the whole request failed and no file was stored. It wraps one of
//   - ErrMalformed: the body is not a form or not a complete one, there are too many
//     parts or files, the header of a part is over Options.MaxHead, or a part contains
//     other parts (multipart/mixed, RFC 7578, section 4.3)
//   - ErrTooLarge: a text field or the data after the form is over Options.MaxField, or
//     all files together are over their limits by more than 64 MiB
//   - ErrDigest: the whole body has another digest
//   - ErrBody and the error of body
//   - pool.ErrFull before the body is read, or pool.ErrClosed
//   - ErrUndecided
//   - ErrUnavailable, or an error for which IsOutOfFiles is true. If it occurs when the files
//     get their names, a file may be stored
//   - the cause of the end of ctx
func (s *Store) Multipart(ctx context.Context, body io.Reader, boundary string) (Response, error) {
	return s.MultipartFrom(ctx, Sender{}, body, boundary)
}

// MultipartFrom is Multipart for the files of a sender. Each file is decided about by Admit
// when its header has been read.
func (s *Store) MultipartFrom(ctx context.Context, sender Sender, body io.Reader, boundary string) (Response, error) {
	if !validBoundary(boundary) {
		return Response{}, WithReason(ErrMalformed, "invalid boundary")
	}
	// A full pool must refuse the request now, not after the header of the first file.
	if err := s.Do(ctx, func() error { return nil }); err != nil {
		return Response{}, fmt.Errorf("begin form: %w", err)
	}
	f := &form{store: s, sender: sender, stream: newStream(body, s.options.MaxHead)}
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

// form is a multipart body that is being read.
type form struct {
	store  *Store
	sender Sender
	stream *stream
	reader *multipart.Reader
	parts  int
	excess int64 // bytes over Options.MaxFile, of all files together

	files   []File
	uploads []*Upload // one for each element of files; nil for a file that failed
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

// readEpilogue reads the data after the last boundary (the epilogue of RFC 2046). The body
// is complete only if it can be read to its end.
func (f *form) readEpilogue() error {
	f.stream.eof = io.EOF
	return f.skip(f.stream, "the data after the form")
}

// publish publishes all complete files in one run of the pool, so that neither the
// client nor ctx can stop it between two files.
func (f *form) publish(ctx context.Context) error {
	var batch []*publication
	var results []*File // one for each element of batch
	for i, u := range f.uploads {
		if u != nil {
			batch = append(batch, &publication{upload: u, directory: f.files[i].Directory, filename: f.files[i].Filename})
			results = append(results, &f.files[i])
		}
	}
	ctx, span := startStoring(ctx, batch)
	var r Record
	err := f.store.DoWait(ctx, func() error {
		r = f.store.publishBatch(context.WithoutCancel(ctx), batch)
		return nil
	})
	defer func() { endStoring(span, batch, err) }()
	if err != nil {
		return err
	}
	f.store.callStoredFor(ctx, r, batch)
	if away := firstUnavailable(batch); away != nil {
		return away
	}
	for i, p := range batch {
		if p.err != nil {
			*results[i] = f.store.failedFile(ctx, p.directory, p.filename, p.err)
		} else {
			*results[i] = p.file()
		}
	}
	return nil
}

// firstUnavailable returns the first error of the batch after which the client should try
// again, if no file of it is stored.
func firstUnavailable(batch []*publication) (away error) {
	for _, p := range batch {
		if p.err == nil {
			return nil
		}
		if away == nil && (errors.Is(p.err, ErrUnavailable) || IsOutOfFiles(p.err)) {
			away = p.err
		}
	}
	return away
}

// discard removes all files that were not published.
func (f *form) discard() {
	for _, u := range f.uploads {
		if u != nil {
			u.Discard()
		}
	}
}

// headerSize returns the size of the header of a part in the body, in bytes, without
// optional white space.
func headerSize(h textproto.MIMEHeader) (n int64) {
	for name, values := range h {
		for _, value := range values {
			n += int64(len(name) + len(": ") + len(value) + len("\r\n"))
		}
	}
	return n
}
