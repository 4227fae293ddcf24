"""What Istio can mend, and whether it does: a fix is put in, its weakness looked for again, and the fix taken out."""
