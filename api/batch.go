package api

import "net/http"

func (d *data) serveBatch(w http.ResponseWriter, r *http.Request) { d.notFound(w, r) }
