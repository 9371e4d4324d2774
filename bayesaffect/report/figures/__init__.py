"""The pictures of a report, one module per question; `catalogue` lists them in the order of the page."""
