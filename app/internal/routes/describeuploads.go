package routes

import (
	"maps"
	"reflect"

	"github.com/galeserver/gale/app/internal/openapi"
	"github.com/galeserver/gale/uploads"
)

// Parameters of several operations.
var (
	fileDirectory = openapi.Path("directory", "Directory; slashes in it may be sent as they are, or as %2F.")
	uploadWatch   = openapi.Query("id", "ID of the channel upload:ID, on which the progress is published.", &openapi.Schema{Type: "string", Pattern: uploadID.String()})
	digestFields  = []openapi.Parameter{
		openapi.Field("Content-Digest", "Expected digest of the body (RFC 9530), sha-256 or sha-512.", openapi.Text()),
		openapi.Field("Repr-Digest", "Expected digest of the representation (RFC 9530), sha-256 or sha-512.", openapi.Text()),
	}
)

// describeUploads describes the routes of forms, of uploads by WebSocket and of stored
// files.
func describeUploads() openapi.Group {
	return openapi.Group{
		Name: "uploads", Description: "Uploaded files. A file appears under its name only when it is complete, and is never overwritten.",
		Types: append(uploadTypes(), listingTypes()...),
		Operations: map[string][]openapi.Operation{
			"POST /upload":         {postUpload()},
			"GET /upload":          {socketUpload()},
			"DELETE /upload":       {deleteUpload()},
			"PUT /upload/{path:*}": {putFile()},
			"GET /upload/{path:*}": {getFile(), listFiles()},
		},
	}
}

func postUpload() openapi.Operation {
	file := &openapi.Schema{Type: "string", ContentMediaType: "application/octet-stream"}
	return openapi.Operation{
		ID: "upload", Access: openapi.Write, Summary: "Store files from a form",
		Description: "Each file has its own code. The outer code is that of the last file that failed.",
		Parameters:  append([]openapi.Parameter{uploadWatch}, digestFields...),
		RequestBody: &openapi.RequestBody{Required: true, Content: map[string]openapi.MediaType{
			uploads.KindMultipart: {Schema: &openapi.Schema{
				Description: "The name of each field is the directory of its file, and the filename of the part is the filename.",
				Type:        "object", AdditionalProperties: file,
			}},
			uploads.KindURLEncoded: {Schema: &openapi.Schema{
				Description: "One file, with a size of at most -max-body and a filename ending from -upload-types.",
				Type:        "object", Required: []string{"directory", "filename", "body"}, Properties: map[string]*openapi.Schema{
					"directory": {Description: "Directory.", Type: "string"}, "filename": {Description: "Filename.", Type: "string"},
					"body": {Description: "Content of the file.", Type: "string"},
				},
			}},
		}},
		Responses: uploadResponses("All files were stored.", "400", "403", "409", "413", "415", "507"), Problems: []int{503},
	}
}

func socketUpload() openapi.Operation {
	op := withSocket(openapi.Operation{
		ID: "uploadByWebSocket", Access: openapi.Handshake, Summary: "Store a file by WebSocket",
		Description: "Binary messages contain the file, and the server acknowledges each with the offset. The text done or a normal close stores the file. Then the server sends an UploadResponse.",
		Parameters: []openapi.Parameter{
			openapi.Query("directory", "Directory; by default websocket.", openapi.Text()),
			openapi.Query("filename", "Filename; by default uploaded_file.bin, with a number if that name is in use.", openapi.Text()),
			uploadWatch,
		},
	})
	maps.Copy(op.Responses, uploadResponses("", "400", "403", "409", "413"))
	delete(op.Responses, "200")
	return op
}

func deleteUpload() openapi.Operation {
	names := []openapi.Parameter{
		openapi.Query("directory", "Directory; it may also be a field of a form.", openapi.Text()),
		openapi.Query("filename", "Filename; it may also be a field of a form.", openapi.Text()),
	}
	return openapi.Operation{
		ID: "deleteFile", Access: openapi.Write, Summary: "Remove a stored file",
		Description: "Directories that become empty are removed too. A file that does not exist counts as removed.",
		Parameters:  names, Responses: uploadResponses("The file does not exist any more.", "400"), Problems: []int{413, 415, 503},
	}
}

func putFile() openapi.Operation {
	return openapi.Operation{
		Path: "/upload/{directory}/{filename}",
		ID:   "putFile", Access: openapi.Write, Summary: "Store the body as a file",
		Description: "An existing file is never replaced, as if the request had If-None-Match: *.",
		Parameters:  append([]openapi.Parameter{fileDirectory, openapi.Path("filename", "Name of the file."), uploadWatch}, digestFields...),
		RequestBody: &openapi.RequestBody{Required: true, Content: map[string]openapi.MediaType{
			"*/*": {Schema: &openapi.Schema{Type: "string", ContentMediaType: "application/octet-stream"}}, // Content-Type is not stored
		}},
		Responses: uploadResponses("The file was stored.", "400", "403", "409", "413", "415", "507"), Problems: []int{412, 503},
	}
}

func getFile() openapi.Operation {
	op := redirectable(openapi.Operation{
		Path: "/upload/{directory}/{filename}",
		ID:   "getFile", Access: openapi.Read, Summary: "Get a stored file", Description: "Browsers save the file under its name and never display it.",
		Parameters: append([]openapi.Parameter{fileDirectory, openapi.Path("filename", "Name of the file.")}, fileFields()...),
		Responses:  fileResponses(), Problems: []int{400, 404, 503},
	})
	op.Responses["200"].Headers["Repr-Digest"] = openapi.Header{Description: "SHA-256 of the file (RFC 9530), if it is known.", Schema: openapi.Text()}
	return op
}

func listFiles() openapi.Operation {
	return openapi.Operation{
		Path: "/upload/{directory}/",
		ID:   "listFiles", Access: openapi.Read, Summary: "List a directory of stored files", Description: "Entries are sorted by the bytes of their names.",
		Parameters: []openapi.Parameter{
			fileDirectory,
			openapi.Query("limit", "Maximum number of entries in a page; by default 100.", openapi.Within(1, uploads.MaxList)),
			openapi.Query("after", "Name after which the page starts.", openapi.Text()),
		},
		Responses: map[string]*openapi.Response{"200": openapi.JSON("A page of entries.", openapi.Ref("Listing"))},
		Problems:  []int{400, 404, 503},
	}
}

// uploadMeanings are the descriptions of the error responses to an upload, by status.
var uploadMeanings = map[string]string{
	"400": "A name is not allowed, the form is malformed, a file or an argument is missing, or the content does not match its digest.",
	"403": "The file was refused by a decision or a quota, the sender may not upload, or a page of another origin sent it.",
	"409": "A file with this name exists.",
	"413": "A file, or the body, is larger than its limit.",
	"415": "The filename ending is not accepted, or the body has a Content-Encoding.",
	"507": "There is not enough disk space.",
}

// uploadResponses returns the responses of a route for uploads: 200, and the statuses in
// others.
func uploadResponses(stored string, others ...string) map[string]*openapi.Response {
	refused := &openapi.Schema{AnyOf: []*openapi.Schema{openapi.Ref("UploadResponse"), openapi.Ref(openapi.ErrorName)}}
	all := map[string]*openapi.Response{"200": openapi.JSON(stored, openapi.Ref("UploadResponse"))}
	for _, status := range others {
		all[status] = openapi.JSON(uploadMeanings[status], refused)
	}
	return all
}

// uploadTypes returns the schemas of the response to an upload.
func uploadTypes() []openapi.Type {
	codes := openapi.Schema{Description: "200 stored, 206 unfinished, 400 invalid, 403 refused, 413 too large, 500 internal error, 501 exists, 502 no file, 503 argument missing, 504 format not supported, 507 no space.", Enum: []any{
		uploads.CodeStored, uploads.CodePartial, uploads.CodeInvalid, uploads.CodeRefused, uploads.CodeTooLarge, uploads.CodeInternal,
		uploads.CodeExists, uploads.CodeNoFile, uploads.CodeMissing, uploads.CodeFormat, uploads.CodeNoSpace,
	}}
	outer := codes
	outer.Description = "Code of the last file that failed, or 200; the codes are those of a file."
	return []openapi.Type{
		{Name: "UploadResponse", Description: "Result of an upload.", Go: reflect.TypeFor[uploadResponse](), Fields: map[string]openapi.Schema{
			"code": outer, "reason": says("OK, or the reason for the code."), "files": says("Results, one for each file of the request."),
		}},
		{Name: "UploadedFile", Description: "Result for one file.", Go: reflect.TypeFor[uploadedFile](), Fields: map[string]openapi.Schema{
			"directory": says("Directory."), "filename": says("Filename."), "size": says("Size in bytes; 0 if the file was not stored."),
			"sha256": says("SHA-256 in hexadecimal; empty if the file was not stored."), "code": codes, "reason": says("OK, or the reason for the code."),
			"task": says("Id of the task for the file; missing if there is none."),
		}},
	}
}

// listingTypes returns the schemas of the list of a directory.
func listingTypes() []openapi.Type {
	return []openapi.Type{
		{Name: "Listing", Description: "A page of a directory.", Go: reflect.TypeFor[listing](), Fields: map[string]openapi.Schema{
			"directory": says("Directory."), "entries": says("Files and directories in it."), "next": says("Value of after for the next page; missing on the last page."),
		}},
		{Name: "Entry", Description: "A file or a directory.", Go: reflect.TypeFor[entry](), Fields: map[string]openapi.Schema{
			"name": says("Name."), "type": words("Type of the entry.", "file", "directory"), "size": says("Size in bytes."), "modified": says("Time of the last change."),
		}},
	}
}
