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
	uploadWatch   = openapi.Query("id", "Id of the channel upload:ID, which gets the progress.", &openapi.Schema{Type: "string", Pattern: uploadID.String()})
	digestFields  = []openapi.Parameter{
		openapi.Field("Content-Digest", "Digest of the body (RFC 9530), by sha-256 or sha-512, that the bytes must match.", openapi.Text()),
		openapi.Field("Repr-Digest", "The same, of the representation.", openapi.Text()),
	}
)

// describeUploads describes the routes of forms, of uploads by WebSocket and of stored
// files.
func describeUploads() openapi.Group {
	return openapi.Group{
		Name: "uploads", Description: "Files: a file is whole under its name or not there, and is never overwritten.",
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
		Description: "Each file has a code of its own, and the outer code is that of the last file that failed.",
		Parameters:  append([]openapi.Parameter{uploadWatch}, digestFields...),
		RequestBody: &openapi.RequestBody{Required: true, Content: map[string]openapi.MediaType{
			uploads.KindMultipart: {Schema: &openapi.Schema{
				Description: "The name of a field is the directory of its file, and the filename of the part is that of the file.",
				Type:        "object", AdditionalProperties: file,
			}},
			uploads.KindURLEncoded: {Schema: &openapi.Schema{
				Description: "One file within -max-body, of the types of -upload-types.",
				Type:        "object", Required: []string{"directory", "filename", "body"}, Properties: map[string]*openapi.Schema{
					"directory": {Description: "Directory.", Type: "string"}, "filename": {Description: "Name of the file.", Type: "string"},
					"body": {Description: "Content of the file.", Type: "string"},
				},
			}},
		}},
		Responses: uploadResponses("All files are stored.", "400", "409", "413", "415", "507"), Problems: []int{503},
	}
}

func socketUpload() openapi.Operation {
	op := withSocket(openapi.Operation{
		ID: "uploadByWebSocket", Access: openapi.Handshake, Summary: "Store a file by WebSocket",
		Description: "Binary messages are the file and each is acknowledged with its offset; the text done or a clean close stores the file, and the server sends an UploadResponse.",
		Parameters: []openapi.Parameter{
			openapi.Query("directory", "Directory; websocket if it is missing.", openapi.Text()),
			openapi.Query("filename", "Name of the file; if it is missing uploaded_file.bin, numbered where that is taken.", openapi.Text()),
			uploadWatch,
		},
	})
	maps.Copy(op.Responses, uploadResponses("", "400", "409"))
	delete(op.Responses, "200")
	return op
}

func deleteUpload() openapi.Operation {
	names := []openapi.Parameter{
		openapi.Query("directory", "Directory; it may be a field of a form instead.", openapi.Text()),
		openapi.Query("filename", "Name of the file; it may be a field of a form instead.", openapi.Text()),
	}
	return openapi.Operation{
		ID: "deleteFile", Access: openapi.Write, Summary: "Remove a stored file",
		Description: "Folders that this leaves empty are removed too, and a file that is not there counts as removed.",
		Parameters:  names, Responses: uploadResponses("The file is not there any more.", "400"), Problems: []int{413, 415, 503},
	}
}

func putFile() openapi.Operation {
	return openapi.Operation{
		Path: "/upload/{directory}/{filename}",
		ID:   "putFile", Access: openapi.Write, Summary: "Store the body as a file",
		Description: "A file is never replaced, as with If-None-Match: *.",
		Parameters:  append([]openapi.Parameter{fileDirectory, openapi.Path("filename", "Name of the file."), uploadWatch}, digestFields...),
		RequestBody: &openapi.RequestBody{Required: true, Content: map[string]openapi.MediaType{
			"*/*": {Schema: &openapi.Schema{Type: "string", ContentMediaType: "application/octet-stream"}}, // the type is not kept
		}},
		Responses: uploadResponses("The file is stored.", "400", "409", "413", "415", "507"), Problems: []int{412, 503},
	}
}

func getFile() openapi.Operation {
	op := openapi.Operation{
		Path: "/upload/{directory}/{filename}",
		ID:   "getFile", Access: openapi.Read, Summary: "Get a stored file", Description: "Browsers save the file under its name and never show it as a page.",
		Parameters: append([]openapi.Parameter{fileDirectory, openapi.Path("filename", "Name of the file.")}, fileFields()...),
		Responses:  fileResponses(), Problems: []int{400, 404, 503},
	}
	op.Responses["302"] = openapi.Empty("The file is in object storage, and -files-redirect is set.").With(map[string]string{"Location": "URL of the file, which is valid for a time."})
	op.Responses["200"].Headers["Repr-Digest"] = openapi.Header{Description: "SHA-256 of the file (RFC 9530), where it is known.", Schema: openapi.Text()}
	return op
}

func listFiles() openapi.Operation {
	return openapi.Operation{
		Path: "/upload/{directory}/",
		ID:   "listFiles", Access: openapi.Read, Summary: "List a directory of stored files", Description: "Entries are sorted by the bytes of their names.",
		Parameters: []openapi.Parameter{
			fileDirectory,
			openapi.Query("limit", "Most entries of a page; 100 if it is missing.", openapi.Within(1, uploads.MaxList)),
			openapi.Query("after", "Name that the entries come after.", openapi.Text()),
		},
		Responses: map[string]*openapi.Response{"200": openapi.JSON("A page of entries.", openapi.Ref("Listing"))},
		Problems:  []int{400, 404, 503},
	}
}

// uploadMeanings are the responses with the body of an upload.
var uploadMeanings = map[string]string{
	"400": "A name or the form is not allowed, no file or an argument is missing, or bytes do not match their digest.",
	"409": "A file of that name exists.",
	"413": "A file, or the body, is larger than its limit.",
	"415": "The file has a type that is not accepted, or the body has a Content-Encoding.",
	"507": "There is no space left.",
}

// uploadResponses are those of a route of uploads: 200 and some others.
func uploadResponses(stored string, others ...string) map[string]*openapi.Response {
	refused := &openapi.Schema{AnyOf: []*openapi.Schema{openapi.Ref("UploadResponse"), openapi.Ref(openapi.ErrorName)}}
	all := map[string]*openapi.Response{"200": openapi.JSON(stored, openapi.Ref("UploadResponse"))}
	for _, status := range others {
		all[status] = openapi.JSON(uploadMeanings[status], refused)
	}
	return all
}

// uploadTypes are the schemas of the response to an upload, of a form and of tus.
func uploadTypes() []openapi.Type {
	codes := openapi.Schema{Description: "200 stored, 206 unfinished, 400 invalid, 413 too large, 500 internal error, 501 exists, 502 no file, 503 argument missing, 504 format not supported, 507 no space.", Enum: []any{
		uploads.CodeStored, uploads.CodePartial, uploads.CodeInvalid, uploads.CodeTooLarge, uploads.CodeInternal,
		uploads.CodeExists, uploads.CodeNoFile, uploads.CodeMissing, uploads.CodeFormat, uploads.CodeNoSpace,
	}}
	outer := codes
	outer.Description = "Code of the last file that failed, or 200; the codes are those of a file."
	return []openapi.Type{
		{Name: "UploadResponse", Description: "Result of an upload.", Go: reflect.TypeFor[uploadResponse](), Fields: map[string]openapi.Schema{
			"code": outer, "reason": says("OK, or what is wrong."), "files": says("One for each file of the request."),
		}},
		{Name: "UploadedFile", Description: "Result for one file.", Go: reflect.TypeFor[uploadedFile](), Fields: map[string]openapi.Schema{
			"directory": says("Directory."), "filename": says("Name of the file."), "size": says("Bytes; 0 if the file is not stored."),
			"sha256": says("SHA-256 in hexadecimal; empty if the file is not stored."), "code": codes, "reason": says("OK, or what is wrong."),
			"task": says("Id of the task that is started for the file; missing without one."),
		}},
	}
}

// listingTypes are the schemas of the list of a directory.
func listingTypes() []openapi.Type {
	return []openapi.Type{
		{Name: "Listing", Description: "A page of a directory.", Go: reflect.TypeFor[listing](), Fields: map[string]openapi.Schema{
			"directory": says("Directory."), "entries": says("Files and directories in it."), "next": says("Value of after for the next page; missing at the end."),
		}},
		{Name: "Entry", Description: "A file or a directory.", Go: reflect.TypeFor[entry](), Fields: map[string]openapi.Schema{
			"name": says("Name."), "type": words("What it is.", "file", "directory"), "size": says("Bytes."), "modified": says("When it changed last."),
		}},
	}
}
