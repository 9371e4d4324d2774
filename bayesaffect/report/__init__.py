"""From findings to one page: figures, tables and the HTML that holds them. `page.write_report` is the door."""
