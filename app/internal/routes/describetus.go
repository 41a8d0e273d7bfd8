package routes

import (
	"github.com/galeserver/gale/app/internal/openapi"
	"github.com/galeserver/gale/uploads/tus"
)

// tusField returns a header field of a request.
func tusField(name, description string, schema *openapi.Schema) openapi.Parameter {
	return openapi.Field(name, description, schema)
}

func tusBytes(name, description string) openapi.Parameter {
	return openapi.Field(name, description, &openapi.Schema{Type: "integer", Minimum: new(int)})
}

// tusVersion returns the header field that all requests except GET and OPTIONS must have.
func tusVersion() openapi.Parameter {
	p := openapi.Field("Tus-Resumable", "Version of the protocol.", &openapi.Schema{Type: "string", Const: tus.Version})
	p.Required = true
	return p
}

var tusChecksum = openapi.Field("Upload-Checksum", "Algorithm (sha256, sha1 or md5) and checksum of the body in base64.", openapi.Text())

// withState adds the header fields with the state of an upload to a response.
func withState(r *openapi.Response) *openapi.Response {
	return r.With(map[string]string{"Tus-Resumable": "Version of the protocol."}).Maybe(map[string]string{
		"Upload-Offset": "Number of bytes that are on disk.", "Upload-Length": "Size of the whole file in bytes, if it is known.",
		"Upload-Expires": "Time at which the unfinished upload is removed.", "Upload-Task": "Id of the task for the stored file.",
		"Repr-Digest": "SHA-256 of the stored file (RFC 9530).",
	})
}

// describeTus describes the routes of the tus protocol.
func describeTus() openapi.Group {
	base, one := tus.DefaultBase, tus.DefaultBase+"{id}"
	return openapi.Group{
		Name: "tus", Description: "Resumable uploads by the protocol tus 1.0.0 (https://tus.io/protocols/resumable-upload).",
		Types: uploadTypes(),
		Operations: map[string][]openapi.Operation{
			"POST " + base: {createResumable()}, "OPTIONS " + base: {tusOptions("getTusOptions", "Get the extensions and limits of the protocol")},
			"OPTIONS " + one: {tusOptions("getTusUploadOptions", "Get the extensions and limits of the protocol for an upload")},
			"GET " + one:     {lookResumable()}, "HEAD " + one: {headResumable()}, "PATCH " + one: {patchResumable()},
			"DELETE " + one: {deleteResumable()}, "POST " + one: {overrideResumable()},
		},
		Refused: []string{"GET " + base, "HEAD " + base, "PATCH " + base, "DELETE " + base},
	}
}

// tusID is the parameter of the path of an upload.
var tusID = openapi.Path("id", "Id of the upload, from Location in the response to its creation.")

// tusProblems are the error statuses of a request for an upload.
var tusProblems = []int{404, 410, 412, 423, 503}

func createResumable() openapi.Operation {
	responses := uploadResponses("", "400", "403", "409", "413", "415", "507")
	delete(responses, "200")
	responses["201"] = withState(openapi.JSON("The upload was created. The response has a body only if the request contained the whole file.", openapi.Ref("UploadResponse"))).
		With(map[string]string{"Location": "Path of the upload."})
	responses["460"] = checksumFault
	return openapi.Operation{
		ID: "createResumableUpload", Access: openapi.Write, Summary: "Create a resumable upload",
		Description: "The body may contain the first bytes of the file. With Upload-Concat, the file is made of completed partial uploads.",
		Parameters: []openapi.Parameter{
			tusVersion(), tusBytes("Upload-Length", "Size of the file in bytes."), tusField("Upload-Defer-Length", "A later request will contain Upload-Length.", &openapi.Schema{Type: "string", Const: "1"}),
			tusField("Upload-Metadata", "Keys, each with a value in base64: filename, which is required unless the upload is partial, and directory, by default tus.", openapi.Text()),
			tusField("Upload-Concat", "The word partial, or the word final with a semicolon and the paths of the partial uploads.", openapi.Text()), tusChecksum,
		},
		RequestBody: tusBody(false), Responses: responses, Problems: []int{412, 503},
	}
}

// tusBody returns a request body with bytes of an upload.
func tusBody(required bool) *openapi.RequestBody {
	return &openapi.RequestBody{Description: "Bytes of the file.", Required: required, Content: map[string]openapi.MediaType{"application/offset+octet-stream": {}}}
}

var checksumFault = openapi.JSON("The body does not match Upload-Checksum and was dropped.", openapi.Ref(openapi.ErrorName))

func tusOptions(id, summary string) openapi.Operation {
	op := openapi.Operation{
		ID: id, Summary: summary, Description: "It needs no token, because browsers send none with this request.",
		Responses: map[string]*openapi.Response{"204": openapi.Empty("The header fields describe the protocol of the server.").With(map[string]string{
			"Tus-Version": "Versions of the protocol.", "Tus-Extension": "Extensions of the protocol.",
			"Tus-Checksum-Algorithm": "Algorithms of Upload-Checksum.", "Tus-Max-Size": "Maximum size of a file in bytes.",
		})},
	}
	if id != "getTusOptions" {
		op.Parameters = []openapi.Parameter{tusID}
	}
	return op
}

func lookResumable() openapi.Operation {
	return openapi.Operation{
		ID: "getResumableUpload", Access: openapi.Read, Summary: "Get the state and the result of a resumable upload",
		Description: "The body has the same form as the response to an uploaded form. It is available during the upload and for an hour after its end.",
		Parameters:  []openapi.Parameter{tusID},
		Responses:   map[string]*openapi.Response{"200": withState(openapi.JSON("The current state of the upload.", openapi.Ref("UploadResponse")))},
		Problems:    []int{404, 410, 503},
	}
}

func headResumable() openapi.Operation {
	return openapi.Operation{
		ID: "getResumableOffset", Access: openapi.Write, Summary: "Get the offset of a resumable upload", Description: "A client needs the offset to continue an upload.",
		Parameters: []openapi.Parameter{tusID, tusVersion()},
		Responses:  map[string]*openapi.Response{"200": withState(openapi.Empty("The header fields contain the state of the upload."))}, Problems: tusProblems,
	}
}

func patchResumable() openapi.Operation {
	offset := tusBytes("Upload-Offset", "Position of the first byte of the body, which must be the offset of the upload.")
	offset.Required = true
	responses := uploadResponses("", "400", "403", "409", "413", "415", "507")
	delete(responses, "200")
	responses["204"] = withState(openapi.Empty("The bytes were written to disk."))
	responses["460"] = checksumFault
	return openapi.Operation{
		ID: "continueResumableUpload", Access: openapi.Write, Summary: "Append bytes to a resumable upload", Description: "With the last byte, the file is stored under its name.",
		Parameters:  []openapi.Parameter{tusID, tusVersion(), offset, tusBytes("Upload-Length", "Size of the file in bytes, if the upload was created with Upload-Defer-Length."), tusChecksum},
		RequestBody: tusBody(true), Responses: responses, Problems: tusProblems,
	}
}

func deleteResumable() openapi.Operation {
	return openapi.Operation{
		ID: "deleteResumableUpload", Access: openapi.Write, Summary: "Remove an unfinished resumable upload", Description: "A stored file is not removed.",
		Parameters: []openapi.Parameter{tusID, tusVersion()},
		Responses:  map[string]*openapi.Response{"204": openapi.Empty("The upload was removed.")}, Problems: tusProblems,
	}
}

func overrideResumable() openapi.Operation {
	method := tusField("X-HTTP-Method-Override", "Method of the request.", openapi.Words("PATCH", "HEAD", "DELETE"))
	method.Required = true
	op := patchResumable()
	op.ID, op.Summary = "overrideResumableUpload", "Send a request with another method as a POST request"
	op.Description = "The header fields and the responses are those of the method in X-HTTP-Method-Override."
	op.Parameters = []openapi.Parameter{tusID, tusVersion(), method, tusBytes("Upload-Offset", "Position of the first byte of the body, for PATCH."), tusChecksum}
	op.RequestBody = tusBody(false)
	op.Responses["200"] = withState(openapi.Empty("The header fields contain the state of the upload."))
	return op
}
