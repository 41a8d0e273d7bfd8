package openapi

// JSON returns a response whose body is JSON with a schema.
func JSON(description string, schema *Schema) *Response {
	return Body(description, "application/json", schema)
}

// Body returns a response whose body has a media type; a nil schema means any bytes.
func Body(description, media string, schema *Schema) *Response {
	return &Response{Description: description, Content: map[string]MediaType{media: {Schema: schema}}}
}

// Empty returns a response without a body.
func Empty(description string) *Response { return &Response{Description: description} }

// With adds header fields that the response always has, with their descriptions.
func (r *Response) With(fields map[string]string) *Response { return r.add(fields, true) }

// Maybe adds header fields that the response may have, with their descriptions.
func (r *Response) Maybe(fields map[string]string) *Response { return r.add(fields, false) }

func (r *Response) add(fields map[string]string, always bool) *Response {
	if r.Headers == nil {
		r.Headers = make(map[string]Header, len(fields))
	}
	for name, description := range fields {
		r.Headers[name] = Header{Description: description, Required: always, Schema: Text()}
	}
	return r
}

// Query returns a parameter in the query.
func Query(name, description string, schema *Schema) Parameter {
	return Parameter{Name: name, In: "query", Description: description, Schema: schema}
}

// Path returns a parameter in the path.
func Path(name, description string) Parameter {
	return Parameter{Name: name, In: "path", Description: description, Required: true, Schema: Text()}
}

// Field returns a parameter in a header field of the request.
func Field(name, description string, schema *Schema) Parameter {
	return Parameter{Name: name, In: "header", Description: description, Schema: schema}
}

// Socket returns the parameters and the response of the handshake of a WebSocket (RFC 6455
// section 4.1).
func Socket() (handshake []Parameter, accepted *Response) {
	upgrade := Field("Upgrade", "Name of the protocol.", &Schema{Type: "string", Const: "websocket"})
	version := Field("Sec-WebSocket-Version", "Version of the protocol.", &Schema{Type: "string", Const: "13"})
	key := Field("Sec-WebSocket-Key", "16 random bytes in base64.", Text())
	upgrade.Required, version.Required, key.Required = true, true, true
	return []Parameter{upgrade, version, key}, Empty("The connection is now a WebSocket.").With(map[string]string{
		"Sec-WebSocket-Accept": "Hash of the key (RFC 6455 section 4.2.2).",
	})
}
