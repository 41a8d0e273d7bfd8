package routes

import (
	"github.com/galeserver/gale/app/internal/console"
	"github.com/galeserver/gale/app/internal/openapi"
)

// describeConsole describes the pages of the console.
func describeConsole() openapi.Group {
	page := openapi.Body("The page.", textHTML, openapi.Text())
	elsewhere := openapi.Empty("The browser is redirected to another page.").With(map[string]string{"Location": "Path of the page."})
	return openapi.Group{
		Name: "console", Description: "The pages of the console and the files that they load.",
		Operations: map[string][]openapi.Operation{
			"GET " + consolePath: {{
				ID: "console", Summary: "Show the console", Description: "If a token is set, a browser without a session is redirected to the login page.",
				Responses: map[string]*openapi.Response{"200": page, "303": elsewhere, "304": notModified},
			}},
			"GET " + consolePath + "/{file}": {{
				ID: "getConsoleFile", Access: openapi.Read, Summary: "Get a file of the console", Description: "The page of the console refers to these files.",
				Parameters: []openapi.Parameter{openapi.Path("file", "Name of the file.")},
				Responses:  map[string]*openapi.Response{"200": openapi.Body("The file.", anyBytes, nil), "304": notModified},
				Problems:   []int{404},
			}},
			"GET " + consolePath + "/" + console.StyleFile: {{
				ID: "getConsoleStyle", Summary: "Get the style sheet of the console", Description: "It needs no token, because the login page uses it too.",
				Responses: map[string]*openapi.Response{"200": openapi.Body("The style sheet.", "text/css", openapi.Text()), "304": notModified},
			}},
			"GET " + consolePath + "/live": {withSocket(openapi.Operation{
				ID: "watchConsole", Access: openapi.Handshake, Summary: "Get the data of the console by WebSocket",
				Description: "The server sends JSON objects at most once a second. Their form may change with each version of the server.",
			})},
			"GET " + consolePath + "/history": {describeHistory()},
			"GET " + loginPath: {{
				ID: "showLogin", Summary: "Show the login page", Description: "A browser that needs no login is redirected to the console.",
				Responses: map[string]*openapi.Response{"200": page, "303": elsewhere, "304": notModified},
			}},
			"POST " + loginPath: {{
				ID: "login", Access: openapi.SameSite, Summary: "Start a console session",
				Description: "A client address may make ten attempts per minute, counted over all processes.",
				RequestBody: &openapi.RequestBody{Required: true, Content: map[string]openapi.MediaType{formMedia: {Schema: &openapi.Schema{
					Type: "object", Properties: map[string]*openapi.Schema{"token": {Description: "The token of -token-file.", Type: "string"}}, Required: []string{"token"},
				}}}},
				Responses: map[string]*openapi.Response{
					"303": elsewhere, "429": openapi.Body("Too many attempts.", textHTML, openapi.Text()),
					"403": {Description: "The token is wrong, or the request was sent by a page of another origin.", Content: map[string]openapi.MediaType{
						textHTML: {Schema: openapi.Text()}, "application/json": {Schema: openapi.Ref(openapi.ErrorName)},
					}},
				},
				Problems: []int{400, 413, 415},
			}},
			"POST " + consolePath + "/logout": {{
				ID: "logout", Access: openapi.SameSite, Summary: "End a console session", Description: "The response removes the cookie of the browser. Other sessions are not affected.",
				Responses: map[string]*openapi.Response{"303": elsewhere},
			}},
		},
	}
}
