package s3

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"

	"github.com/galeserver/gale/uploads"
)

// Target is the place of files in object storage.
type Target struct {
	Bucket   string
	Prefix   string // begin of all keys, without a slash at its end; may be empty
	Endpoint string // host, or host:port
	Secure   bool   // HTTPS
	Region   string
}

// defaultRegion is the region of most services other than Amazon's, which have only one.
const defaultRegion = "us-east-1"

// Parse parses an address of the form
//
//	s3://bucket/prefix?endpoint=https://s3.example.com&region=eu-central-1
//
// The prefix may be missing. Without an endpoint it is Amazon's in the region; with an
// endpoint, the default region is us-east-1. The prefix has to be a directory by the rules
// of uploads.CheckName.
func Parse(address string) (Target, error) {
	u, err := url.Parse(address)
	if err != nil {
		return Target{}, errors.New("not a URL")
	}
	switch {
	case u.Scheme != "s3" || u.Opaque != "":
		return Target{}, errors.New("does not begin with s3://")
	case u.User != nil:
		return Target{}, errors.New("has a user name: give the credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or in a credentials file")
	case u.Fragment != "":
		return Target{}, errors.New("has a fragment (#)")
	}
	if err := s3utils.CheckValidBucketNameStrict(u.Host); err != nil {
		return Target{}, fmt.Errorf("bucket %q: %w", u.Host, err)
	}
	t := Target{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/")}
	if t.Prefix != "" {
		if err := uploads.CheckName(t.Prefix, "x"); err != nil {
			return Target{}, fmt.Errorf("prefix: %w", err)
		}
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Target{}, errors.New("the part after the question mark cannot be parsed")
	}
	for name, values := range query {
		switch {
		case name != "endpoint" && name != "region":
			return Target{}, fmt.Errorf("unknown parameter %q: endpoint and region are known", name)
		case len(values) != 1 || values[0] == "":
			return Target{}, fmt.Errorf("parameter %s must have one value", name)
		}
	}
	t.Region = query.Get("region")
	return t, t.setEndpoint(query.Get("endpoint"))
}

// setEndpoint sets the endpoint from its URL.
func (t *Target) setEndpoint(address string) error {
	if address == "" {
		if t.Region == "" {
			return errors.New("give an endpoint or a region: s3://bucket/prefix?endpoint=https://s3.example.com or ?region=eu-central-1")
		}
		t.Endpoint, t.Secure = "s3.amazonaws.com", true // the library finds the host of the region
		return nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("the endpoint is not a URL such as https://s3.example.com:9000") // it is not shown, because it may contain a password
	}
	t.Endpoint, t.Secure = u.Host, u.Scheme == "https"
	if t.Region == "" {
		t.Region = defaultRegion
	}
	return nil
}

// credentials returns the sources of credentials, in their order.
func (Target) credentials(timeout time.Duration) *credentials.Credentials {
	return credentials.NewChainCredentials([]credentials.Provider{
		&credentials.EnvAWS{},
		&credentials.FileAWSCredentials{},
		&credentials.IAM{Client: &http.Client{Timeout: timeout}},
	})
}

// newTransport returns the default transport, without a limit of connections to the one
// host it is for.
func newTransport() http.RoundTripper {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: DefaultTimeout, KeepAlive: 15 * time.Second}).DialContext,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       time.Minute,
		TLSHandshakeTimeout:   DefaultTimeout,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true, // the bytes of an object must not be changed
	}
}
