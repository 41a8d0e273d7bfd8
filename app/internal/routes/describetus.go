package routes

import (
	"github.com/galeserver/gale/app/internal/openapi"
	"github.com/galeserver/gale/uploads/tus"
)

// Fields of the requests of tus.
func tusField(name, description string, schema *openapi.Schema) openapi.Parameter {
	return openapi.Field(name, description, schema)
}

func tusBytes(name, description string) openapi.Parameter {
	return openapi.Field(name, description, &openapi.Schema{Type: "integer", Minimum: new(int)})
}

// tusVersion is the field that every request but GET and OPTIONS must have.
func tusVersion() openapi.Parameter {
	p := openapi.Field("Tus-Resumable", "Version of the protocol.", &openapi.Schema{Type: "string", Const: tus.Version})
	p.Required = true
	return p
}

var tusChecksum = openapi.Field("Upload-Checksum", "Algorithm (sha256, sha1 or md5) and checksum of the body in base64.", openapi.Text())

// withState adds to a response the fields that say how far an upload is.
func withState(r *openapi.Response) *openapi.Response {
	return r.With(map[string]string{"Tus-Resumable": "Version of the protocol."}).Maybe(map[string]string{
		"Upload-Offset": "Bytes that are on disk.", "Upload-Length": "Bytes of the whole file, once they are known.",
		"Upload-Expires": "When an unfinished upload is removed.", "Upload-Task": "Id of the task that is started for the stored file.",
		"Repr-Digest": "SHA-256 of the stored file (RFC 9530).",
	})
}

// describeTus describes the routes of the tus protocol.
func describeTus() openapi.Group {
	base, one := tus.DefaultBase, tus.DefaultBase+"{id}"
	return openapi.Group{
		Name: "tus", Description: "Uploads that can be resumed, by tus 1.0.0 (https://tus.io/protocols/resumable-upload).",
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
var tusID = openapi.Path("id", "Id of the upload, from the Location of its creation.")

// tusProblems are the statuses of a request for an upload.
var tusProblems = []int{404, 410, 412, 423, 503}

func createResumable() openapi.Operation {
	responses := uploadResponses("", "400", "409", "413", "415", "507")
	delete(responses, "200")
	responses["201"] = withState(openapi.JSON("The upload is created; there is a body only if the request contained the whole file.", openapi.Ref("UploadResponse"))).
		With(map[string]string{"Location": "Path of the upload."})
	responses["460"] = checksumFault
	return openapi.Operation{
		ID: "createResumableUpload", Access: openapi.Write, Summary: "Create a resumable upload",
		Description: "The body may be the first bytes of the file, and Upload-Concat joins completed uploads.",
		Parameters: []openapi.Parameter{
			tusVersion(), tusBytes("Upload-Length", "Bytes of the file."), tusField("Upload-Defer-Length", "The length follows with a later request.", &openapi.Schema{Type: "string", Const: "1"}),
			tusField("Upload-Metadata", "Keys, each with a value in base64: filename is needed unless the upload is partial, and directory is tus if it is missing.", openapi.Text()),
			tusField("Upload-Concat", "The word partial, or final; and the paths of the parts.", openapi.Text()), tusChecksum,
		},
		RequestBody: tusBody(false), Responses: responses, Problems: []int{412, 503},
	}
}

// tusBody is a body of bytes for an upload.
func tusBody(required bool) *openapi.RequestBody {
	return &openapi.RequestBody{Description: "Bytes of the file.", Required: required, Content: map[string]openapi.MediaType{"application/offset+octet-stream": {}}}
}

var checksumFault = openapi.JSON("The bytes do not match Upload-Checksum, and are dropped.", openapi.Ref(openapi.ErrorName))

func tusOptions(id, summary string) openapi.Operation {
	op := openapi.Operation{
		ID: id, Summary: summary, Description: "No token is needed, since browsers send none with this request.",
		Responses: map[string]*openapi.Response{"204": openapi.Empty("The fields say what the server does.").With(map[string]string{
			"Tus-Version": "Versions of the protocol.", "Tus-Extension": "Extensions of the protocol.",
			"Tus-Checksum-Algorithm": "Algorithms of Upload-Checksum.", "Tus-Max-Size": "Bytes that a file may have.",
		})},
	}
	if id != "getTusOptions" {
		op.Parameters = []openapi.Parameter{tusID}
	}
	return op
}

func lookResumable() openapi.Operation {
	return openapi.Operation{
		ID: "getResumableUpload", Access: openapi.Read, Summary: "Get what is known of a resumable upload",
		Description: "The body is that of the response to a form, during the upload and for an hour after it.",
		Parameters:  []openapi.Parameter{tusID},
		Responses:   map[string]*openapi.Response{"200": withState(openapi.JSON("The upload as it is now.", openapi.Ref("UploadResponse")))},
		Problems:    []int{404, 410, 503},
	}
}

func headResumable() openapi.Operation {
	return openapi.Operation{
		ID: "getResumableOffset", Access: openapi.Write, Summary: "Get the offset of a resumable upload", Description: "A client asks for it before it continues an upload.",
		Parameters: []openapi.Parameter{tusID, tusVersion()},
		Responses:  map[string]*openapi.Response{"200": withState(openapi.Empty("The fields say how far the upload is."))}, Problems: tusProblems,
	}
}

func patchResumable() openapi.Operation {
	offset := tusBytes("Upload-Offset", "Position of the first byte of the body, which must be the offset of the upload.")
	offset.Required = true
	responses := uploadResponses("", "400", "409", "413", "415", "507")
	delete(responses, "200")
	responses["204"] = withState(openapi.Empty("The bytes are on disk."))
	responses["460"] = checksumFault
	return openapi.Operation{
		ID: "continueResumableUpload", Access: openapi.Write, Summary: "Append bytes to a resumable upload", Description: "The last byte stores the file under its name.",
		Parameters:  []openapi.Parameter{tusID, tusVersion(), offset, tusBytes("Upload-Length", "Bytes of the file, where the creation left them open."), tusChecksum},
		RequestBody: tusBody(true), Responses: responses, Problems: tusProblems,
	}
}

func deleteResumable() openapi.Operation {
	return openapi.Operation{
		ID: "deleteResumableUpload", Access: openapi.Write, Summary: "Remove an unfinished resumable upload", Description: "A file that is stored already stays.",
		Parameters: []openapi.Parameter{tusID, tusVersion()},
		Responses:  map[string]*openapi.Response{"204": openapi.Empty("The upload is removed.")}, Problems: tusProblems,
	}
}

func overrideResumable() openapi.Operation {
	method := tusField("X-HTTP-Method-Override", "Method that is meant.", openapi.Words("PATCH", "HEAD", "DELETE"))
	method.Required = true
	op := patchResumable()
	op.ID, op.Summary = "overrideResumableUpload", "Send another method through a client that can only send POST"
	op.Description = "The fields and the responses are those of the method that is meant."
	op.Parameters = []openapi.Parameter{tusID, tusVersion(), method, tusBytes("Upload-Offset", "Position of the first byte of the body, for PATCH."), tusChecksum}
	op.RequestBody = tusBody(false)
	op.Responses["200"] = withState(openapi.Empty("The fields say how far the upload is."))
	return op
}
