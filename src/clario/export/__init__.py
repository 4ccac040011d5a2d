"""Extractions for other programs: Phenopackets, FHIR Bundles and tables. docs/EXPORTS.md says what maps to what.

Patient text goes along only where the caller asks for it (`quotes`). None of it is a diagnosis, and each says so.
"""
