package batcher

import "net/http"

// Form is how an upstream takes a batch.
type Form string

// The forms.
const (
	FormQuery     Form = "query"      // ids in a query parameter, joined or repeated
	FormPath      Form = "path"       // ids joined in the path
	FormJSONArray Form = "json_array" // a JSON array of ids, objects or member bodies
	FormJSONRPC   Form = "jsonrpc"    // a JSON-RPC 2.0 batch
	FormGraphQL   Form = "graphql"    // an array of {query, variables, operationName}
	FormInput     Form = "input"      // an input array, OpenAI's embeddings form
	FormMGet      Form = "mget"       // Elasticsearch's _mget
)

// Forms lists every form there is.
func Forms() []Form {
	return []Form{FormQuery, FormPath, FormJSONArray, FormJSONRPC, FormGraphQL, FormInput, FormMGet}
}

// By says how the items of a batch's answer find their members.
type By string

// The ways to split an answer.
const (
	ByID    By = "id"    // each item carries its id at IDPath
	ByOrder By = "order" // the items stand in the order asked; null is a missing one
	ByKey   By = "key"   // the items are the values of an object whose keys are the ids
)

// Defaults of a Rule.
const (
	DefaultMaxItems     = 50
	DefaultMaxURLBytes  = 4 << 10 // forms query and path; many servers refuse lines over 8 KiB
	DefaultMaxBodyBytes = 1 << 20 // all other forms
)

// Rule declares how the upstream of one route takes a batch. It is plain data: what is empty has
// the default of its form. All paths into JSON are gjson paths ("result.items"; empty: the whole).
type Rule struct {
	// Form is how the batch is written. Needed.
	Form Form `koanf:"form" json:"form,omitempty" yaml:"form,omitempty"`
	// Param is the route's param that carries the id. Needed for the forms query, path and mget.
	// Form json_array may leave it out: each member's own JSON body is then one element. The
	// other forms read the member's body and have none.
	Param string `koanf:"param" json:"param,omitempty" yaml:"param,omitempty"`

	// Method of the batch call. Default: GET for query and path, else POST.
	Method string `koanf:"method" json:"method,omitempty" yaml:"method,omitempty"`
	// Path of the batch call, a template of the route's other params, relative to the upstream's
	// base URL. Form path: {PARAM} stands for the joined ids; default the route's own path.
	// Forms query and mget, and json_array with a param, need it; the others default to the
	// member's own path.
	Path string `koanf:"path" json:"path,omitempty" yaml:"path,omitempty"`
	// Query are more query parameters of the batch call, templates of the other params. The
	// route's own query goes along, except the entries that name the batched param.
	Query map[string]string `koanf:"query" json:"query,omitempty" yaml:"query,omitempty"`
	// Name is the query parameter that carries the ids (form query; default "ids").
	Name string `koanf:"name" json:"name,omitempty" yaml:"name,omitempty"`
	// Separator stands between ids (forms query and path; default ","). An id that contains it
	// travels alone.
	Separator string `koanf:"separator" json:"separator,omitempty" yaml:"separator,omitempty"`
	// Repeat writes name=1&name=2 in place of joining (form query).
	Repeat bool `koanf:"repeat" json:"repeat,omitempty" yaml:"repeat,omitempty"`
	// Body are the fixed fields of the batch's JSON body, a template of the other params
	// (forms json_array and mget).
	Body map[string]any `koanf:"body" json:"body,omitempty" yaml:"body,omitempty"`
	// ArrayPath is where in the body the array of items stands, as an sjson path. Default: for
	// json_array the body itself, or "ids" when Body is given; "input" for input; for mget "ids",
	// or "docs" when Item is given.
	ArrayPath string `koanf:"array_path" json:"array_path,omitempty" yaml:"array_path,omitempty"`
	// Item is the template of one element of the array (forms json_array and mget): any JSON
	// value, in which a string that is exactly "{param}" becomes the param's JSON value. The
	// params that it names may differ between members. Default: the id.
	Item any `koanf:"item" json:"item,omitempty" yaml:"item,omitempty"`

	// By is how the answer is split. Default: order for graphql and for json_array without a
	// param, else id. Forms jsonrpc, graphql and mget allow only their default.
	By By `koanf:"by" json:"by,omitempty" yaml:"by,omitempty"`
	// ItemsPath is where the items stand in the answer. Default: "data" for input, "docs" for
	// mget, else the whole answer.
	ItemsPath string `koanf:"items_path" json:"items_path,omitempty" yaml:"items_path,omitempty"`
	// IDPath is where an item carries its id. Default: "index" for input, "_id" for mget, else
	// "id".
	IDPath string `koanf:"id_path" json:"id_path,omitempty" yaml:"id_path,omitempty"`
	// ItemPath is what of an item is the member's body; default the whole item. Not for jsonrpc,
	// graphql, input and mget, whose members get what an unbatched call would give.
	ItemPath string `koanf:"item_path" json:"item_path,omitempty" yaml:"item_path,omitempty"`
	// StatusPath is where an item carries an HTTP status of its own; it becomes the member's.
	StatusPath string `koanf:"status_path" json:"status_path,omitempty" yaml:"status_path,omitempty"`
	// ErrorPath marks an item as a failure if something other than null or false stands there.
	// The member gets the whole item with ErrorStatus, or its own status (StatusPath).
	// Default: "error" for mget.
	ErrorPath string `koanf:"error_path" json:"error_path,omitempty" yaml:"error_path,omitempty"`
	// ErrorStatus is the status of such a member, 400 to 599; default 502.
	ErrorStatus int `koanf:"error_status" json:"error_status,omitempty" yaml:"error_status,omitempty"`
	// MissingStatus is the status of a member that the answer leaves out, 400 to 499, or 502 for
	// an upstream-invalid error. Default 404; always 502 for jsonrpc, graphql and input, where
	// nothing may be missing.
	MissingStatus int `koanf:"missing_status" json:"missing_status,omitempty" yaml:"missing_status,omitempty"`
	// RetryMissing asks for a missing member once more, alone and unbatched, so that it gets the
	// upstream's own words, at the price of a call for each.
	RetryMissing bool `koanf:"retry_missing" json:"retry_missing,omitempty" yaml:"retry_missing,omitempty"`

	// MaxItems is the most items one call carries, 2 or more; default 50, and never more than
	// batching.max_items. Larger batches save calls and make each slower and its failure dearer.
	MaxItems int `koanf:"max_items" json:"max_items,omitempty" yaml:"max_items,omitempty"`
	// MaxBytes bounds the URL (forms query and path; default 4 KiB) or the body (default 1 MiB)
	// of the call. A member that does not fit travels alone.
	MaxBytes int64 `koanf:"max_bytes" json:"max_bytes,omitempty" yaml:"max_bytes,omitempty"`
	// IgnoreHeaders lists request headers that may differ between members, e.g. User-Agent. The
	// call carries those of its first member. Never list one that decides what a client may see.
	IgnoreHeaders []string `koanf:"ignore_headers" json:"ignore_headers,omitempty" yaml:"ignore_headers,omitempty"`
	// SplitOn lists the statuses that may be the fault of one member: a batch answered so is
	// halved and tried again. Default 400, 404, 410, 413, 414, 422.
	SplitOn []int `koanf:"split_on" json:"split_on,omitempty" yaml:"split_on,omitempty"`
}

// onURL reports whether the ids travel in the URL.
func (f Form) onURL() bool { return f == FormQuery || f == FormPath }

// whole reports whether the form sends the members' own bodies and gives each member what an
// unbatched call would.
func (f Form) whole() bool { return f == FormJSONRPC || f == FormGraphQL || f == FormInput }

// withDefaults fills in what the rule leaves empty.
func (r Rule) withDefaults() Rule {
	or := func(s *string, d string) {
		if *s == "" {
			*s = d
		}
	}
	method, by, id, items, array := http.MethodPost, ByID, "id", "", ""
	switch {
	case r.Form.onURL():
		method = http.MethodGet
	case r.Form == FormInput:
		array, items, id = "input", "data", "index"
	case r.Form == FormMGet:
		array, items, id = "ids", "docs", "_id"
		if r.Item != nil {
			array = "docs"
		}
		or(&r.ErrorPath, "error")
	case r.Form == FormJSONArray && len(r.Body) > 0:
		array = "ids"
	}
	if r.Form == FormGraphQL || r.Form == FormJSONArray && r.Param == "" {
		by = ByOrder
	}
	if r.By == "" {
		r.By = by
	}
	or(&r.Method, method)
	or(&r.Name, "ids")
	or(&r.Separator, ",")
	or(&r.ArrayPath, array)
	or(&r.ItemsPath, items)
	or(&r.IDPath, id)
	return r.withNumbers()
}

func (r Rule) withNumbers() Rule {
	if r.ErrorStatus == 0 {
		r.ErrorStatus = http.StatusBadGateway
	}
	if r.Form.whole() {
		r.MissingStatus = http.StatusBadGateway
	} else if r.MissingStatus == 0 {
		r.MissingStatus = http.StatusNotFound
	}
	if r.MaxItems == 0 {
		r.MaxItems = DefaultMaxItems
	}
	if r.MaxBytes == 0 {
		r.MaxBytes = DefaultMaxBodyBytes
		if r.Form.onURL() {
			r.MaxBytes = DefaultMaxURLBytes
		}
	}
	if len(r.SplitOn) == 0 {
		r.SplitOn = []int{
			http.StatusBadRequest, http.StatusNotFound, http.StatusGone, http.StatusRequestEntityTooLarge,
			http.StatusRequestURITooLong, http.StatusUnprocessableEntity,
		}
	}
	return r
}
