package routes

import (
	"github.com/galeserver/gale/app/internal/console"
	"github.com/galeserver/gale/app/internal/openapi"
)

// describeConsole describes the pages of the console.
func describeConsole() openapi.Group {
	page := openapi.Body("The page.", textHTML, openapi.Text())
	elsewhere := openapi.Empty("The browser is sent to another page.").With(map[string]string{"Location": "Path of the page."})
	return openapi.Group{
		Name: "console", Description: "Pages for people, and what these pages load.",
		Operations: map[string][]openapi.Operation{
			"GET " + consolePath: {{
				ID: "console", Summary: "Show the console", Description: "Where a token is set, a browser without a session is sent to the login.",
				Responses: map[string]*openapi.Response{"200": page, "303": elsewhere, "304": notModified},
			}},
			"GET " + consolePath + "/{file}": {{
				ID: "getConsoleFile", Access: openapi.Read, Summary: "Get a file of the console", Description: "The page names the files that it loads.",
				Parameters: []openapi.Parameter{openapi.Path("file", "Name of the file.")},
				Responses:  map[string]*openapi.Response{"200": openapi.Body("The file.", anyBytes, nil), "304": notModified},
				Problems:   []int{404},
			}},
			"GET " + consolePath + "/" + console.StyleFile: {{
				ID: "getConsoleStyle", Summary: "Get the style sheet of the console", Description: "The login has it too, so it needs no token.",
				Responses: map[string]*openapi.Response{"200": openapi.Body("The style sheet.", "text/css", openapi.Text()), "304": notModified},
			}},
			"GET " + consolePath + "/live": {withSocket(openapi.Operation{
				ID: "watchConsole", Access: openapi.Handshake, Summary: "Follow what the console shows by WebSocket",
				Description: "The server sends JSON objects for the page of its own version, once a second at most.",
			})},
			"GET " + loginPath: {{
				ID: "showLogin", Summary: "Show the login", Description: "A browser that needs no login is sent to the console.",
				Responses: map[string]*openapi.Response{"200": page, "303": elsewhere, "304": notModified},
			}},
			"POST " + loginPath: {{
				ID: "login", Access: openapi.SameSite, Summary: "Begin a session of the console",
				Description: "A client address has ten attempts a minute, counted across all processes.",
				RequestBody: &openapi.RequestBody{Required: true, Content: map[string]openapi.MediaType{formMedia: {Schema: &openapi.Schema{
					Type: "object", Properties: map[string]*openapi.Schema{"token": {Description: "The token of -token-file.", Type: "string"}}, Required: []string{"token"},
				}}}},
				Responses: map[string]*openapi.Response{
					"303": elsewhere, "429": openapi.Body("Too many attempts.", textHTML, openapi.Text()),
					"403": {Description: "The token is wrong, or a page of another origin sent the request.", Content: map[string]openapi.MediaType{
						textHTML: {Schema: openapi.Text()}, "application/json": {Schema: openapi.Ref(openapi.ErrorName)},
					}},
				},
				Problems: []int{400, 413, 415},
			}},
			"POST " + consolePath + "/logout": {{
				ID: "logout", Access: openapi.SameSite, Summary: "End a session of the console", Description: "The browser forgets its cookie, and other sessions stay.",
				Responses: map[string]*openapi.Response{"303": elsewhere},
			}},
		},
	}
}
