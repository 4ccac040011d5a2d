"""The versioned index of the Human Phenotype Ontology: parsing, releases, and names to terms."""
