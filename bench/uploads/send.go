package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// sender sends a file with a name on a connection.
type sender func(ctx context.Context, c *conn, name string, content []byte) error

// sendForm sends a file as multipart/form-data.
func sendForm(ctx context.Context, c *conn, name string, content []byte) error {
	_, err := c.do(ctx, request{
		method: http.MethodPost, target: "/upload", fields: "Content-Type: multipart/form-data; boundary=b\r\n",
		before: "--b\r\nContent-Disposition: form-data; name=\"" + directory + "\"; filename=\"" + name + "\"\r\n" +
			"Content-Type: application/octet-stream\r\n\r\n",
		after: "\r\n--b--\r\n",
	}, content)
	return err
}

// sendPut sends a file as the body of a PUT request in a folder.
func sendPut(folder string) sender {
	return func(ctx context.Context, c *conn, name string, content []byte) error {
		_, err := c.do(ctx, request{method: http.MethodPut, target: folder + name, fields: "Content-Type: application/octet-stream\r\n"}, content)
		return err
	}
}

// sendSmallTus sends a file by tus: a POST and one PATCH.
func sendSmallTus(ctx context.Context, c *conn, name string, content []byte) error {
	encode := base64.StdEncoding.EncodeToString
	created, err := c.do(ctx, request{
		method: http.MethodPost, target: "/tus/",
		fields: fmt.Sprintf("Tus-Resumable: 1.0.0\r\nUpload-Length: %d\r\nUpload-Metadata: filename %s,directory %s\r\n",
			len(content), encode([]byte(name)), encode([]byte(directory))),
	}, nil)
	if err != nil {
		return err
	}
	location, err := url.Parse(created.Get("Location")) // a path, or a whole URL
	if err != nil {
		return err
	}
	if location.Path == "" {
		return errors.New("the response to the creation has no Location")
	}
	_, err = c.do(ctx, request{
		method: http.MethodPatch, target: location.Path,
		fields: "Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\n",
	}, content)
	return err
}
