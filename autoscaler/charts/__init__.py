"""Curves over time as one page that needs nothing from elsewhere; for any report.

steps    series of steps, and what lies under them
marks    numbered labels of single points in time
draw     charts as SVG
html     the page around them

Standard library only, and nothing of what the curves mean.
"""
