"""HTTP <-> Generate."""
