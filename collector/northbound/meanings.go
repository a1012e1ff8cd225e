package northbound

// meaning is what a documented error code stands for.
type meaning struct {
	text string
	is   error  // of a call that is refused with it; nil for a code of subtasks alone
	hint string // what can be done; may be empty
}

// The documented codes, of calls and of subtasks. The platform knows more.
var meanings = map[string]meaning{
	"1010009": {"more calls a minute than the platform allows", ErrThrottled, "the calls of all programs that use this application count together"},
	"100501":  {"platform is congested", ErrThrottled, "the platform is congested"},
	"1010005": {"access token is not valid", ErrTokenInvalid, "a sign-in of another program as the same application ends this one's: give each program an application of its own"},
	"100217":  {"application is not authorized", ErrNotAuthorized, "the application that owns the task has to authorize this one"},
	"100203":  {"application does not exist", ErrApplicationNotFound, "check the application's id, and that of the task's owner"},
	"105005":  {"batch task does not exist", ErrTaskNotFound, "check the task's id; the platform may have removed the task"},
	"100022":  {"input is invalid", ErrInvalidInput, ""},
	"100019":  {"input is invalid", ErrInvalidInput, ""},
	"50400":   {"input is invalid", ErrInvalidInput, ""},
	"100208":  {"application's id or secret is not right", ErrCredentials, "check the application's id and secret"},
	"102202":  {"required parameter is empty", ErrCredentials, "check the application's id and secret"},
	"100247":  {"application is frozen", ErrCredentials, "ask the platform's operator to unfreeze the application"},
	"50252":   {"internal error of the platform", ErrInternal, ""},

	// Of commands.
	"100223": {text: "too many pending commands"},
	"100403": {text: "device does not exist"},
	"100418": {text: "device data does not exist"},
	"100428": {text: "device is not online"},
	"100431": {text: "service type does not exist"},
	"100432": {text: "command is muted"},
	"100434": {text: "command does not exist"},
	"100435": {text: "command was canceled, expired or executed"},
	"100612": {text: "zombie device: does not react"},

	// Of registrations.
	"100003": {text: "verification code is invalid"},
	"100007": {text: "bad request"},
	"100412": {text: "device limit is reached"},
	"100416": {text: "device is already bound"},
	"100426": {text: "node ID is a duplicate"},
	"100441": {text: "device limit is reached"},
	"103026": {text: "licence is missing"},
	"103028": {text: "licence is used up"},
	"600002": {text: "product does not exist"},
}

// Meaning returns in a few words what an error code of the platform stands for,
// of a call or of a subtask, and nothing if no document says it.
func Meaning(code string) string { return meanings[code].text }
