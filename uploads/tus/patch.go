package tus

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// patch serves PATCH: it appends the body to an upload.
func (s *Server) patch(ctx context.Context, r *Request) (Response, error) {
	if !isOffsetStream(r) {
		return Response{}, newError(http.StatusUnsupportedMediaType, "the Content-Type must be "+offsetStream)
	}
	offset, given, err := byteCount(r, "Upload-Offset")
	if err == nil && !given {
		err = newError(http.StatusBadRequest, "missing Upload-Offset")
	}
	if err != nil {
		return Response{}, err
	}
	check, err := parseChecksum(r.Header("Upload-Checksum"))
	if err != nil {
		return Response{}, err
	}
	e, err := s.acquire(ctx, r.ID)
	if err != nil {
		return Response{}, err
	}
	defer e.close()
	switch {
	case e.final():
		return Response{}, newError(http.StatusForbidden, "a final upload accepts no bytes")
	case offset != e.Offset:
		return Response{}, &requestError{status: http.StatusConflict, reason: fmt.Sprintf("the offset of this upload is %d", e.Offset),
			header: [][2]string{{"Upload-Offset", fmt.Sprint(e.Offset)}}}
	}
	if err := e.applyLength(ctx, r); err != nil {
		return Response{}, err
	}
	if e.Length >= 0 && r.Length > e.Length-e.Offset {
		return Response{}, newError(http.StatusRequestEntityTooLarge, errTextTooLong)
	}
	if e.Phase == PhaseUnfinished {
		u, err := e.receive(ctx, r, check)
		if err == nil {
			err = e.finishOrPause(ctx, u)
		} else if errors.Is(err, ErrUnreadable) { // a later request cannot append either
			err = errors.Join(err, e.discard(ctx, "lost"))
		}
		if err != nil {
			return Response{}, err
		}
	}
	return Response{Status: http.StatusNoContent, Header: e.headerFields(), File: e.storedFile()}, nil
}

// applyLength applies the Upload-Length of a PATCH. An upload that was created without a
// length gets this one, and its whole length then counts for Options.MaxUnfinished. For
// any other upload the length must be the same as before.
func (e *entry) applyLength(ctx context.Context, r *Request) error {
	length, given, err := byteCount(r, "Upload-Length")
	switch {
	case err != nil:
		return err
	case !given && e.Length < 0:
		return e.checkGrowth(ctx)
	case !given || length == e.Length:
		return nil
	case e.Length >= 0:
		return newError(http.StatusBadRequest, "Upload-Length cannot change")
	case length < e.Offset:
		return newError(http.StatusBadRequest, "Upload-Length is less than Upload-Offset")
	case length > e.server.store.MaxFile():
		return newError(http.StatusRequestEntityTooLarge, "Upload-Length is over Tus-Max-Size")
	}
	if err := e.held.Reserve(ctx, length, e.server.limits()); err != nil {
		return err
	}
	p := e.Progress
	p.Length = length
	return e.save(ctx, p)
}

// checkGrowth returns an error if the unfinished uploads are over their limits.
func (e *entry) checkGrowth(ctx context.Context) error {
	return e.held.Reserve(ctx, -1, e.server.limits())
}

// head serves HEAD: it returns the offset at which the client can resume. It takes the
// upload over from a running request, so that the offset does not change any more.
func (s *Server) head(ctx context.Context, r *Request) (Response, error) {
	e, err := s.acquire(ctx, r.ID)
	if err != nil {
		return Response{}, err
	}
	defer e.close()
	if e.complete() && !e.Partial() && e.Phase == PhaseUnfinished {
		if err := e.finish(ctx, nil); err != nil {
			return Response{}, err
		}
	}
	resp := Response{Status: http.StatusOK, Header: [][2]string{{"Cache-Control", "no-store"}}, File: e.storedFile()}
	for _, field := range e.headerFields() {
		if field[0] == "Upload-Offset" && e.final() && !e.complete() {
			continue // the protocol allows it only after the parts have been joined
		}
		resp.Header = append(resp.Header, field)
	}
	for name, value := range map[string]string{"Upload-Metadata": e.Metadata, "Upload-Concat": e.Concat} {
		if value != "" {
			resp.Header = append(resp.Header, [2]string{name, value})
		}
	}
	return resp, nil
}

// remove serves DELETE: it discards an upload. A file that has already been stored is not
// removed.
func (s *Server) remove(ctx context.Context, r *Request) (Response, error) {
	e, err := s.acquire(ctx, r.ID)
	if err != nil {
		return Response{}, err
	}
	defer e.close()
	if err := e.discard(ctx, "terminated"); err != nil {
		return Response{}, err
	}
	return Response{Status: http.StatusNoContent}, nil
}

// get serves GET, which is not in the protocol: it returns the state of an upload as an
// uploads.Response. Unlike HEAD it does not interrupt a running request.
func (s *Server) get(ctx context.Context, id string) (Response, error) {
	e, err := s.look(ctx, id)
	if err != nil {
		return Response{}, err
	}
	return Response{Status: http.StatusOK, Header: append(e.headerFields(), [2]string{"Cache-Control", "no-store"}), Body: e.response(), File: e.storedFile()}, nil
}
