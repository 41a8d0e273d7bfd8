package uploadhook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
)

// service is a hook that is a web service.
type service struct {
	url    string
	client *http.Client
}

func newService(url string) *service {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 16}
	return &service{url, &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// faults are statuses that say something about the hook, or about its load, and nothing about
// the file.
var faults = []int{
	http.StatusUnauthorized, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusProxyAuthRequired,
	http.StatusRequestTimeout, http.StatusTooManyRequests,
}

// post sends the proposal and returns the body of a 200 response.
func (s *service) post(ctx context.Context, proposal []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(proposal))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read response: %w", err)
	case len(body) > maxReply:
		return nil, fmt.Errorf("response is larger than %d bytes", maxReply)
	case resp.StatusCode == http.StatusOK:
		return body, nil
	case resp.StatusCode >= 400 && resp.StatusCode < 500 && !slices.Contains(faults, resp.StatusCode):
		return nil, refuse(resp.StatusCode, body)
	}
	return nil, fmt.Errorf("status %d", resp.StatusCode)
}
