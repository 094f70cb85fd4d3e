package natsengine

import (
	"testing"

	"penstock/engine/enginetest"
)

func TestShelf(t *testing.T) {
	e, _ := open(t, t.TempDir())
	enginetest.Shelf(t, e)
}
