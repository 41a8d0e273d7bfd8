package tus

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// patch is PATCH: bytes for an upload, at its offset.
func (s *Server) patch(ctx context.Context, r *Request) (Response, error) {
	if !isOffsetStream(r) {
		return Response{}, newError(http.StatusUnsupportedMediaType, "the content type must be "+offsetStream)
	}
	offset, given, err := byteCount(r, "Upload-Offset")
	if err == nil && !given {
		err = newError(http.StatusBadRequest, "Upload-Offset is missing")
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
		return Response{}, newError(http.StatusForbidden, "a final upload takes no bytes")
	case offset != e.Offset:
		return Response{}, &requestError{status: http.StatusConflict, reason: fmt.Sprintf("the offset of this upload is %d", e.Offset),
			header: [][2]string{{"Upload-Offset", fmt.Sprint(e.Offset)}}}
	}
	if err := e.applyLength(ctx, r); err != nil {
		return Response{}, err
	}
	if e.Length >= 0 && r.Length > e.Length-e.Offset {
		return Response{}, newError(http.StatusRequestEntityTooLarge, "more bytes than the upload has")
	}
	if e.Phase == phaseUnfinished {
		u, err := e.receive(ctx, r, check)
		if err == nil {
			err = e.finishOrPause(ctx, u)
		}
		if err != nil {
			return Response{}, err
		}
	}
	return Response{Status: http.StatusNoContent, Header: e.headerFields(), File: e.storedFile()}, nil
}

// applyLength notes the length that a PATCH brings for an upload that was created
// without one; of another it must be the same. From then on the upload counts with
// all of it, like one that was created so: its bytes are not counted again.
func (e *entry) applyLength(ctx context.Context, r *Request) error {
	length, given, err := byteCount(r, "Upload-Length")
	switch {
	case err != nil:
		return err
	case !given && e.Length < 0:
		return e.server.checkGrowth(ctx)
	case !given || length == e.Length:
		return nil
	case e.Length >= 0:
		return newError(http.StatusBadRequest, "the length of an upload cannot change")
	case length < e.Offset:
		return newError(http.StatusBadRequest, "Upload-Length is less than what is there")
	case length > e.server.store.MaxFile():
		return newError(http.StatusRequestEntityTooLarge, "larger than a file may be, see Tus-Max-Size")
	}
	if err := e.openData(); err != nil {
		return err
	}
	return e.server.store.DoWait(ctx, func() error { return e.setLength(length) })
}

// roomLeft is nil unless the unfinished uploads have all that they may have.
func (s *Server) checkGrowth(ctx context.Context) error {
	return s.store.DoWait(ctx, func() error { return s.checkQuota(0, 0) })
}

// head is HEAD: where to go on. It takes the upload from a request that has it, so
// that the offset is the last word.
func (s *Server) head(ctx context.Context, r *Request) (Response, error) {
	e, err := s.acquire(ctx, r.ID)
	if err != nil {
		return Response{}, err
	}
	defer e.close()
	if e.complete() && !e.partial() && e.Phase == phaseUnfinished {
		if err := e.finish(ctx, nil); err != nil {
			return Response{}, err
		}
	}
	resp := Response{Status: http.StatusOK, Header: [][2]string{{"Cache-Control", "no-store"}}, File: e.storedFile()}
	for _, field := range e.headerFields() {
		if field[0] == "Upload-Offset" && e.final() && !e.complete() {
			continue // the protocol wants it said only when the parts are joined
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

// remove is DELETE. A file that has been stored stays: it is no longer the
// upload's.
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

// look is GET, which is none of the protocol's: what is known of an upload, as
// the answer of a form has it. It disturbs nobody.
func (s *Server) get(id string) (Response, error) {
	f, err := s.find(id)
	if err != nil {
		return Response{}, err
	}
	e := &entry{server: s, state: f}
	defer e.close()
	e.attributes, e.progress, err = readState(f)
	if errors.Is(err, errStateUnreadable) || err == nil && (e.Phase == phaseDiscarded || e.expired(time.Now())) {
		return Response{}, errGone
	}
	if err != nil {
		return Response{}, err
	}
	return Response{Status: http.StatusOK, Header: append(e.headerFields(), [2]string{"Cache-Control", "no-store"}), Body: e.response(), File: e.storedFile()}, nil
}
