"""What `make docs` does once the pages are built: programs that they link to, llms.txt, a look at every link."""
