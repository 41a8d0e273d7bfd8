package uploads

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Each decision has the result that its client and its caller expect.
func TestAdmit(t *testing.T) {
	var decision Decision
	var refusal error
	s := openStore(t, t.TempDir(), Options{MaxFile: 100, Decide: func(context.Context, Proposal) (Decision, error) { return decision, refusal }})
	internal := errors.New("a fault")
	for name, row := range map[string]struct {
		proposal Proposal
		decision Decision
		refusal  error
		want     Permit
		code     int // of the response for the error
		status   int
		reason   string
	}{
		"as proposed":       {Proposal{Directory: "d", Filename: "a", Size: 100}, Decision{}, nil, Permit{Directory: "d", Filename: "a"}, 200, 200, ""},
		"renamed":           {Proposal{Directory: "d", Filename: "a"}, Decision{Filename: "b", MaxSize: 5}, nil, Permit{Directory: "d", Filename: "b", MaxSize: 5}, 200, 200, ""},
		"moved":             {Proposal{Directory: "d", Filename: "a", Sender: Sender{Subject: "ann"}}, Decision{Directory: "e/f"}, nil, Permit{Directory: "e/f", Filename: "a", Subject: "ann"}, 200, 200, ""},
		"wrong name":        {Proposal{Directory: "d", Filename: ".."}, Decision{Filename: "b"}, nil, Permit{}, CodeInvalid, 400, "unacceptable name"},
		"too large":         {Proposal{Directory: "d", Filename: "a", Size: 101}, Decision{MaxSize: 1000}, nil, Permit{}, CodeTooLarge, 413, "limit of a file is 100 bytes"},
		"over the decision": {Proposal{Directory: "d", Filename: "a", Size: 6}, Decision{MaxSize: 5}, nil, Permit{}, CodeTooLarge, 413, "limit of a file is 5 bytes"},
		"refused":           {Proposal{Directory: "d", Filename: "a"}, Decision{}, &RefusalError{403, "no"}, Permit{}, CodeRefused, 403, "no"},
		"refused, exists":   {Proposal{Directory: "d", Filename: "a"}, Decision{}, &RefusalError{409, "no"}, Permit{}, CodeExists, 409, "no"},
		"refused, format":   {Proposal{Directory: "d", Filename: "a"}, Decision{}, &RefusalError{415, "no"}, Permit{}, CodeFormat, 415, "no"},
		"refused, other":    {Proposal{Directory: "d", Filename: "a"}, Decision{}, &RefusalError{451, "no"}, Permit{}, 451, 451, "no"},
		"refused, wrongly":  {Proposal{Directory: "d", Filename: "a"}, Decision{}, &RefusalError{200, "no"}, Permit{}, CodeRefused, 403, "no"},
		"named error":       {Proposal{Directory: "d", Filename: "a"}, Decision{}, WithReason(ErrFormat, "no notes"), Permit{}, CodeFormat, 415, "no notes"},
		"undecided":         {Proposal{Directory: "d", Filename: "a"}, Decision{}, fmt.Errorf("%w: x", ErrUndecided), Permit{}, CodeInternal, 500, "try again later"},
		"a fault":           {Proposal{Directory: "d", Filename: "a"}, Decision{}, internal, Permit{}, CodeInternal, 500, "internal error"},
		"a wrong new name":  {Proposal{Directory: "d", Filename: "a"}, Decision{Directory: "../x"}, nil, Permit{}, CodeInternal, 500, "internal error"},
		"a wrong limit":     {Proposal{Directory: "d", Filename: "a"}, Decision{MaxSize: -1}, nil, Permit{}, CodeInternal, 500, "internal error"},
	} {
		t.Run(name, func(t *testing.T) {
			decision, refusal = row.decision, row.refusal
			got, err := s.Admit(t.Context(), row.proposal)
			r := NewResponse(NewFile("d", "a", err))
			if got != row.want || r.Code != row.code || r.Status() != row.status || !strings.Contains(r.Reason, row.reason) {
				t.Errorf("%+v, %v: %+v", got, err, r)
			}
		})
	}
}

// The files of a form are decided about one by one. If one decision cannot be made, nothing of
// the form is stored.
func TestDecisionsAboutForms(t *testing.T) {
	eachKind(t, Options{Decide: func(_ context.Context, p Proposal) (Decision, error) {
		switch p.Filename {
		case "no":
			return Decision{}, &RefusalError{http.StatusForbidden, "no: " + p.Sender.Subject}
		case "later":
			return Decision{}, ErrUndecided
		}
		return Decision{Directory: "of/" + p.Sender.Subject, MaxSize: 5}, nil
	}}, func(t *testing.T, s *Store) {
		body := formBody(filePart("d", "a", "12345"), filePart("d", "no", "1"), filePart("d", "b", "123456"), filePart("e", "a", "1"))
		r, err := s.MultipartFrom(t.Context(), Sender{Subject: "ann"}, strings.NewReader(body), testBoundary)
		if err != nil || !codes(r, CodeStored, CodeRefused, CodeTooLarge, CodeExists) || r.Files[0].Directory != "of/ann" || r.Files[1].Reason != "no: ann" {
			t.Errorf("%+v, %v", r, err)
		}
		body = formBody(filePart("d", "c", "1"), filePart("d", "later", "1"))
		if r, err := s.Multipart(t.Context(), strings.NewReader(body), testBoundary); !errors.Is(err, ErrUndecided) {
			t.Errorf("%+v, %v", r, err)
		}
		if err := s.Check(t.Context(), "of", "c"); err != nil {
			t.Errorf("stored: %v", err)
		}
	})
}
