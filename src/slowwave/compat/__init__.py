"""Drop-ins: the classes of other memory systems, with slowwave beneath. Change the import, keep the script."""
